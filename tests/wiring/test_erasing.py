"""What is erased is gone from journal and MLflow, and the chain still verifies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.make import a_feedback, a_prediction, a_request, finished
from tests.tracking_server import Tracking, a_server
from tests.wiring.test_tracing import Mlflow, at

from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.cli import run
from ddx.cli.exits import EXIT_CODE
from ddx.core import ids
from ddx.core.chain import Kind
from ddx.core.record import Prediction
from ddx.errors import Erased
from ddx.settings import Settings
from ddx.wiring.delivering import deliver
from ddx.wiring.verifying import verify

pytest.importorskip("mlflow", reason="needs the extra `tracking`")
CANARY = "zebrawood-7731"
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(
    tmp_path: Path,
    tracking: Tracking,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """Run a command on this home; return its code and its words."""
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    monkeypatch.setenv("DDX_MLFLOW_PORT", tracking.uri.rpartition(":")[2])

    def run_it(*arguments: str) -> tuple[int, str, str]:
        code = run([*arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with a_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


def told(**changes: object) -> Prediction:
    request = a_request(case=f"Fell from a {CANARY}.", tracker=f"visit {CANARY}")
    return finished(a_prediction(request=request, **changes), prompt_used=CANARY, raw_output=CANARY)


@pytest.fixture(params=["bulk", "client"])
def kept(
    request: pytest.FixtureRequest, tmp_path: Path, tracking: Tracking
) -> tuple[Settings, list[Prediction]]:
    """One prediction with feedback, a retry and a replay of it; and one of somebody else."""
    loaded = at(
        tmp_path,
        tracking,
        DDX_DELIVERY=request.param,
        DDX_TRACING="mlflow",
        DDX_TRACE_CONTENT="1",
    )
    first = told()
    made = [first, told(retry_of=first.id), told(replay_of=first.id), finished()]
    with closing(SqliteJournal(loaded.data, "main")) as journal:
        for one in made:
            journal.accept(one, None).result()
        said = a_feedback(true_diagnosis=CANARY, comment=CANARY)
        journal.add_feedback(first.id, said).result()
    deliver(loaded, once=True)
    return loaded, made


def erase(cli: Cli, *arguments: str) -> tuple[int, dict[str, object], str]:
    code, out, err = cli("erase", "--yes", "--json", *arguments)
    return code, json.loads(out) if out else {}, err


def where_it_stands(folder: Path) -> list[str]:
    return [
        str(one.relative_to(folder))
        for one in folder.rglob("*")
        if one.is_file() and CANARY.encode() in one.read_bytes()
    ]


def test_an_erased_case_is_nowhere_and_nothing_else_is_missing(
    kept: tuple[Settings, list[Prediction]], cli: Cli, tracking: Tracking, tmp_path: Path
) -> None:
    loaded, made = kept
    mlflow, artifacts = Mlflow(tracking.uri), Path(tracking.artifacts_path)
    assert where_it_stands(artifacts)

    code, certificate, err = erase(cli, made[0].id, "--out", str(tmp_path / "certificate.json"))

    assert (code, err) == (0, "")
    assert certificate == json.loads((tmp_path / "certificate.json").read_text())
    assert CANARY not in str(certificate)
    entries = certificate["erased"]
    assert isinstance(entries, list)
    assert [one["prediction_id"] for one in entries] == sorted(one.id for one in made[:3])
    assert {one["why"].split()[0] for one in entries} == {"asked", "retry", "replay"}
    assert where_it_stands(artifacts) == []
    with closing(SqliteJournalReader(loaded.data, "main")) as reader:
        for one in made[:3]:
            with pytest.raises(Erased):
                reader.find(one.id)
        assert reader.find(made[3].id) is not None
    for one in made[:3]:
        run = mlflow.client.get_run(mlflow.run_of(one))
        assert "ddx.erased" in run.data.tags
        assert CANARY not in str(run.to_dictionary())
        assert run.data.metrics["success"] == 1.0
        assert mlflow.traces_of(one) == []
    with closing(SqliteJournalReader(loaded.data, "main-cli-1")) as own:
        assert [one.kind for one in own.events(0, 9)] == [Kind.ERASED] * 3
    # Delivery and verification go on as if nothing were.
    assert deliver(loaded, once=True)["quarantined"] == 0
    assert where_it_stands(artifacts) == []
    report = verify(loaded, mlflow=True, checkpoints=(), public_key=None)
    assert report.erased == 3
    ours = {str(one.id) for one in made}
    assert [one for one in report.differences if one.where in ours] == []


def test_a_tracker_names_all_that_came_with_it_and_again_changes_nothing(
    kept: tuple[Settings, list[Prediction]], cli: Cli
) -> None:
    _, made = kept
    code, certificate, _ = erase(cli, "--tracker", f"visit {CANARY}")
    assert (code, certificate["whole"]) == (0, True)
    code, certificate, _ = erase(cli, made[0].id)
    entries = certificate["erased"]
    assert isinstance(entries, list)
    assert (code, [one["key"] for one in entries]) == (0, ["destroyed before"])
    assert erase(cli, "--tracker", "nobody's")[0] == EXIT_CODE["not_found"]


def test_where_mlflow_is_away_the_key_goes_and_the_rest_is_done_later(
    kept: tuple[Settings, list[Prediction]], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, made = kept
    monkeypatch.setenv("DDX_TRACKING_URI", "http://127.0.0.1:9")
    code, certificate, _ = erase(cli, made[0].id)
    assert (code, certificate["whole"]) == (1, False)
    with closing(SqliteJournalReader(loaded.data, "main")) as reader, pytest.raises(Erased):
        reader.find(made[0].id)
    monkeypatch.delenv("DDX_TRACKING_URI")
    code, certificate, _ = erase(cli, made[0].id)
    assert (code, certificate["whole"]) == (0, True)


def test_what_is_old_goes_but_for_what_is_on_hold(
    tmp_path: Path, tracking: Tracking, cli: Cli
) -> None:
    loaded = at(tmp_path, tracking)
    old = datetime.now(UTC) - timedelta(days=40)

    def of(number: int, at: datetime) -> Prediction:
        id = ids.prediction_id(at, bytes([number]) * 10)
        request = a_request(tracker=f"visit {number}")
        return finished(a_prediction(id=id, received_at=at, request=request))

    made = [of(1, old), of(2, old), of(3, old), of(4, datetime.now(UTC))]
    with closing(SqliteJournal(loaded.data, "main")) as journal:
        for one in made:
            journal.accept(one, None).result()
    (tmp_path / "ddx.toml").write_text('legal_hold = "hold.txt"\n')
    assert cli("retain", "--days", "30", "--dry-run")[0] == EXIT_CODE["bad_settings"]
    (tmp_path / "hold.txt").write_text(f"# for the court\n{made[1].id}\nvisit 3  # until May\n")

    code, out, _ = cli("retain", "--days", "30", "--dry-run", "--json")
    assert (code, json.loads(out)) == (0, {"would_erase": [made[0].id], "on_hold": 2})
    assert erase(cli, made[2].id)[0] == EXIT_CODE["on_hold"]
    code, out, _ = cli("retain", "--days", "30", "--yes", "--json")
    assert (code, [one["prediction_id"] for one in json.loads(out)["erased"]]) == (0, [made[0].id])
    code, out, _ = cli("retain", "--days", "30", "--yes", "--json")
    assert (code, json.loads(out)["erased"]) == (0, [])
    with closing(SqliteJournalReader(loaded.data, "main")) as reader:
        assert [one.id for one in reader.predictions([m.id for m in made])] == [
            one.id for one in made[1:]
        ]


def test_what_is_under_way_is_not_erased(tmp_path: Path, cli: Cli) -> None:
    running = a_prediction()
    with closing(SqliteJournal(tmp_path / "ddx_data", "main")) as journal:
        journal.accept(running, None).result()
    assert erase(cli, running.id)[0] == EXIT_CODE["unfinished"]


def test_nobody_is_asked_where_nobody_can_answer(cli: Cli) -> None:
    assert cli("erase", "x")[0] == 2
    assert cli("erase")[0] == 2
