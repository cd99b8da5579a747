"""The ledger on disk: added to, put together, crashed, and asked."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.make import CASE, NOON, a_feedback, a_prediction, a_request, finished

from ddx.core.feedback import Feedback, Reason, Verdict
from ddx.core.record import Declined, Failed, Interrupted
from ddx.core.report import FILTERS, By, Choices, Figures, Question
from ddx.core.usage import FeedbackRow, UsageRow, feedback_row, usage_row
from ddx.errors import LedgerUnavailable

pytest.importorskip("pyarrow", reason="needs the extra `analytics`")
pytest.importorskip("duckdb", reason="needs the extra `analytics`")

from ddx.adapters.parquet_ledger import LedgerReader, ParquetLedger, files
from ddx.adapters.parquet_ledger.writer import PIECES

JOURNAL = "0123456789abcdef"


def a_row(**changes: Any) -> UsageRow:
    return replace(usage_row(finished()), **changes)


def some(n: int, luck: random.Random) -> list[UsageRow]:
    """Rows over some days, of all outcomes, some with nothing known."""
    return [
        a_row(
            received_at=NOON + timedelta(hours=luck.randrange(100)),
            model=luck.choice(["gpt-4o", "knowledge"]),
            outcome=luck.choice(["answered", "insufficient_information", "failed", "interrupted"]),
            error_code=luck.choice([None, "model_error"]),
            duration_s=luck.choice([None, 0.5, 1.5, 2.5]),
            cost_usd=luck.choice([None, 0.0, 0.25]),
        )
        for _ in range(n)
    ]


def asked(data: Path, *by: By, **changes: Any) -> list[Figures]:
    return LedgerReader(data).figures(Question(by=by, **changes))


def test_rows_come_back_as_figures(tmp_path: Path) -> None:
    ledger = ParquetLedger(tmp_path)
    free = finished(calls=())
    rows = [
        usage_row(finished()),
        usage_row(finished(outcome=Declined(reason="Too little."))),
        usage_row(finished(outcome=Failed(code="model_error", message="…"))),
        usage_row(free),
    ]
    ledger.add(JOURNAL, 8, rows, [])
    (found,) = asked(tmp_path)
    assert (found.predictions, found.answered, found.declined, found.failed) == (4, 2, 1, 1)
    assert found.success_rate == 0.75
    assert (found.p50_s, found.p99_s) == (1.25, 1.25)
    assert (found.llm_p50_s, found.own_p50_s) == (0.5, 0.75)
    assert (found.input_tokens, found.output_tokens) == (300, 60)
    assert found.cost_usd == pytest.approx(0.003)
    assert found.cost_unknown == 0


def test_an_empty_ledger_has_figures_of_nothing(tmp_path: Path) -> None:
    (found,) = asked(tmp_path)
    assert found == Figures()
    assert asked(tmp_path, By.DAY, By.MODEL) == []
    reader = LedgerReader(tmp_path)
    assert reader.failures(Question(), 5) == []
    assert reader.choices() == Choices(values=dict.fromkeys(FILTERS, ()))


def test_choices_find_what_they_name(tmp_path: Path) -> None:
    rows = [a_row(temperature=value) for value in (None, 0.0, 0.7)]
    ParquetLedger(tmp_path).add(JOURNAL, 3, rows, [])
    reader = LedgerReader(tmp_path)
    choices = reader.choices()
    assert choices.first == choices.last == rows[0].received_at
    assert choices.values[By.TEMPERATURE] == ("0", "0.7", "none")
    for by, values in choices.values.items():
        for value in values:
            (found,) = reader.figures(Question(where={by: value}))
            assert found.predictions == (1 if by is By.TEMPERATURE else 3), (by, value)
            (quick,) = reader.figures(Question(where={by: value}), counts=True)
            assert quick == Figures(predictions=found.predictions, answered=found.answered)


def test_a_tenant_sees_the_rows_of_its_own_keys(tmp_path: Path) -> None:
    callers = ("north/k1", "north/k2", "northern/k1", "anonymous")
    rows = [
        a_row(prediction_id=f"id-{caller}", caller=caller, model=f"of {caller}", outcome="failed")
        for caller in callers
    ]
    ParquetLedger(tmp_path).add(JOURNAL, 3, rows, [])
    reader, own = LedgerReader(tmp_path), Question(tenant="north")
    (found,) = reader.figures(own)
    assert found.predictions == 2
    assert {one.prediction_id for one in reader.failures(own, 9)} == {
        "id-north/k1",
        "id-north/k2",
    }
    assert reader.choices("north").values[By.CALLER] == callers[:2]
    assert reader.choices("north").values[By.MODEL] == ("of north/k1", "of north/k2")


def test_the_newest_failures_are_found_wherever_they_are(tmp_path: Path) -> None:
    rows = [
        a_row(prediction_id=f"id-{day:03}", received_at=NOON + timedelta(days=day), outcome=outcome)
        for day in range(20)
        for outcome in (("failed",) if day < 3 or day > 17 else ("answered",))
    ]
    ParquetLedger(tmp_path).add(JOURNAL, 20, rows, [])
    reader = LedgerReader(tmp_path)
    for limit, expected in ((1, "19"), (2, "19 18"), (4, "19 18 2 1"), (9, "19 18 2 1 0")):
        found = reader.failures(Question(), limit)
        assert [int(one.prediction_id[3:]) for one in found] == [int(n) for n in expected.split()]


@pytest.mark.parametrize("by", list(By))
def test_figures_depend_neither_on_order_nor_on_files(tmp_path: Path, by: By) -> None:
    luck = random.Random(7)
    rows = some(200, luck)
    one, other = tmp_path / "one", tmp_path / "other"
    ParquetLedger(one).add(JOURNAL, 400, rows, [])
    luck.shuffle(rows)
    ledger = ParquetLedger(other)
    for start in range(0, 200, 10):
        ledger.add(JOURNAL, start + 10, rows[start : start + 10], [])
    ledger.tend()
    assert asked(one, by) == asked(other, by)
    assert sum(found.predictions for found in asked(one, by)) == 200


def test_days_are_folders_and_grow_together(tmp_path: Path) -> None:
    ledger = ParquetLedger(tmp_path)
    for number in range(PIECES):
        ledger.add(JOURNAL, number + 1, [a_row(), a_row(received_at=NOON + timedelta(days=1))], [])
    before = asked(tmp_path, By.DAY)
    change = LedgerReader(tmp_path).change()
    ledger.tend()
    there = sorted(str(p.relative_to(tmp_path / "ledger")) for p in tmp_path.rglob("*.parquet"))
    assert [name.rpartition("/")[0] for name in there] == [
        "predictions/day=2026-01-01",
        "predictions/day=2026-01-02",
    ]
    assert asked(tmp_path, By.DAY) == before
    assert LedgerReader(tmp_path).change() > change
    assert [found.predictions for found in before] == [PIECES, PIECES]


@pytest.mark.parametrize("moment", ["file", "manifest"])
def test_a_crash_in_the_middle_of_adding_leaves_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    ledger = ParquetLedger(tmp_path)
    ledger.add(JOURNAL, 2, [a_row()], [])
    first, second = a_row(), a_row(received_at=NOON + timedelta(days=1))

    def crash(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        if moment == "file":
            put, seen = ledger._table.put, list[Path]()

            def after_one(path: Path, rows: object) -> None:
                if seen:
                    crash()
                seen.append(path)
                put(path, rows)

            patch.setattr(ledger._table, "put", after_one)
        else:
            patch.setattr(files, "write", crash)
        with pytest.raises(SystemExit):
            ledger.add(JOURNAL, 6, [first, second], [])

    assert asked(tmp_path)[0].predictions == 1  # what the manifest does not name is not there
    again = ParquetLedger(tmp_path)
    assert again.cursor(JOURNAL) == 2
    again.add(JOURNAL, 6, [first, second], [])
    assert asked(tmp_path)[0].predictions == 3
    assert len(list(tmp_path.rglob("*.parquet"))) == 3
    assert not list(tmp_path.rglob("*.writing"))


def test_a_reader_that_meets_files_being_put_together_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ParquetLedger(tmp_path)
    for number in range(PIECES):
        ledger.add(JOURNAL, number + 1, [a_row()], [])
    reader = LedgerReader(tmp_path)
    old = files.read(tmp_path / "ledger")
    ledger.tend()
    looks = [old]
    real = files.read
    monkeypatch.setattr(files, "read", lambda folder: looks.pop() if looks else real(folder))
    assert reader.figures(Question())[0].predictions == PIECES


@pytest.mark.parametrize(
    ("where", "n"),
    [
        ({By.MODEL: "gpt-4o"}, 2),
        ({By.ERROR_CODE: "none"}, 3),
        ({By.TEMPERATURE: "0.7"}, 1),
        ({}, 4),
    ],
)
def test_rows_are_chosen(tmp_path: Path, where: dict[By, str], n: int) -> None:
    rows = [
        a_row(model="gpt-4o", temperature=0.7),
        a_row(model="gpt-4o", error_code="model_error", temperature=0.0),
        a_row(model="o'brien; drop table", temperature=0.0),
        a_row(received_at=NOON + timedelta(days=3), temperature=None),
    ]
    ParquetLedger(tmp_path).add(JOURNAL, 8, rows, [])
    assert asked(tmp_path, where=where)[0].predictions == n
    odd = asked(tmp_path, where={By.MODEL: "o'brien; drop table"})
    assert odd[0].predictions == 1
    later = asked(tmp_path, since=NOON + timedelta(minutes=1))
    assert later[0].predictions == 1
    assert asked(tmp_path, until=NOON)[0].predictions == 0


def test_the_last_word_counts_and_meets_its_prediction(tmp_path: Path) -> None:
    one, other = finished(), finished()
    accepted = Feedback(received_at=NOON, outcome=Verdict.ACCEPTED)
    rejected = Feedback(
        received_at=NOON,
        outcome=Verdict.OVERRIDDEN,
        override_reason=Reason(code="problem", comment="Wrong sex."),
    )
    words = [
        feedback_row(one, 3, [accepted]),
        feedback_row(one, 5, [accepted, rejected]),
        feedback_row(other, 6, [accepted, a_feedback()]),
    ]
    ledger = ParquetLedger(tmp_path)
    ledger.add(JOURNAL, 6, [usage_row(one), usage_row(other), a_row()], words[:1])
    ledger.add(JOURNAL, 9, [], words[1:])
    (found,) = asked(tmp_path)
    assert (found.predictions, found.rated, found.accepted) == (3, 2, 1)
    assert (found.truths, found.truth_first, found.truth_listed) == (1, 0, 1)
    assert words[1].problem
    assert words[2].true_rank == 2


def test_no_row_holds_a_word_of_the_case_or_of_feedback(tmp_path: Path) -> None:
    secret = "CANARY-7731"
    told = finished(a_prediction(request=a_request(case=f"{CASE} {secret}", tracker=secret)))
    said = a_feedback(comment=secret, true_diagnosis=secret, outcome=Verdict.OVERRIDDEN)
    ledger = ParquetLedger(tmp_path)
    ledger.add(JOURNAL, 2, [usage_row(told)], [feedback_row(told, 2, [said])])
    for path in (tmp_path / "ledger").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o600
            assert secret.encode() not in path.read_bytes()
    import duckdb

    listed = str(sorted(str(p) for p in tmp_path.rglob("*.parquet")))
    query = f"select * exclude (received_at) from read_parquet({listed}, union_by_name = true)"
    for row in duckdb.connect().execute(query).fetchall():
        assert secret not in str(row)


def test_others_can_read_it(tmp_path: Path) -> None:
    ParquetLedger(tmp_path).add(JOURNAL, 4, [a_row(), a_row()], [])
    import duckdb
    import pandas as pd  # type: ignore[import-untyped]

    pattern = f"{tmp_path}/ledger/predictions/*/*.parquet"
    query = f"select count(*), min(day)::varchar from '{pattern}'"
    assert duckdb.connect().execute(query).fetchall() == [(2, "2026-01-01")]
    frame = pd.read_parquet(tmp_path / "ledger" / "predictions")
    assert set(frame.columns) == {one.name for one in fields(UsageRow)} | {"day"}
    assert frame.received_at.iloc[0] == NOON


def test_failures_come_newest_first(tmp_path: Path) -> None:
    failed = [
        usage_row(
            finished(
                a_prediction(received_at=NOON + timedelta(minutes=n)),
                Failed(code="model_error", message="…"),
            )
        )
        for n in range(3)
    ]
    ParquetLedger(tmp_path).add(JOURNAL, 8, [*failed, a_row()], [])
    found = LedgerReader(tmp_path).failures(Question(), 2)
    assert [one.prediction_id for one in found] == [
        failed[2].prediction_id,
        failed[1].prediction_id,
    ]
    assert found[0].received_at == NOON + timedelta(minutes=2)
    assert found[0].error_code == "model_error"


def test_a_damaged_manifest_is_said(tmp_path: Path) -> None:
    ParquetLedger(tmp_path).add(JOURNAL, 2, [a_row()], [])
    (tmp_path / "ledger" / "manifest.json").write_text("{")
    for call in (lambda: ParquetLedger(tmp_path), lambda: asked(tmp_path)):
        with pytest.raises(LedgerUnavailable, match="manifest"):
            call()


def test_what_is_unknown_is_none(tmp_path: Path) -> None:
    interrupted = finished(outcome=Interrupted())
    row = usage_row(interrupted)
    assert row.outcome == "interrupted"
    assert usage_row(finished(calls=(), outcome=Failed(code="x", message=""))).cost_usd == 0.0
    assert isinstance(feedback_row(interrupted, 1, [a_feedback()]), FeedbackRow)
    assert feedback_row(interrupted, 1, [a_feedback()]).true_rank is None
    with pytest.raises(ValueError, match="no outcome"):
        usage_row(a_prediction())
