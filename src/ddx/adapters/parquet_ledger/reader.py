"""Figures over the ledger, by DuckDB over its files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ddx.adapters.parquet_ledger import files
from ddx.adapters.parquet_ledger.files import FOLDER, Manifest
from ddx.core.report import FILTERS, TIMES, By, Choices, Failure, Figures, Question, said
from ddx.errors import LedgerUnavailable, MissingExtra

_MEMORY = "256MB"
_LAST_DAYS = (1, 8)
"""Where the newest failures are looked for first."""
_TRIES = 5
"""A file that a look finds gone was put together with others since: the next look has it."""

_AT = "make_timestamp(epoch_us(received_at))"
_HOUR_S, _DAY_S = 3_600, 86_400
_STEPS = {By.HOUR: (_HOUR_S, 0), By.DAY: (_DAY_S, 0), By.WEEK: (7 * _DAY_S, 4 * _DAY_S)}
"""Seconds of a step, and of the first one's beginning: 1970 began on a Thursday. DuckDB groups by
a number in half the time that a date takes."""
_COUNTS = """
    count(*) as predictions,
    count(*) filter (outcome = 'answered') as answered,
    count(*) filter (outcome = 'insufficient_information') as declined,
    count(*) filter (outcome = 'failed') as failed,
    count(*) filter (outcome = 'cancelled') as cancelled,
    count(*) filter (outcome = 'interrupted') as interrupted
"""
_SUMS = """
    avg(attempts) as attempts,
    sum(input_tokens)::bigint as input_tokens,
    sum(output_tokens)::bigint as output_tokens,
    fsum(cost_usd) as cost_usd,
    count(*) filter (cost_usd is null) as cost_unknown,
    count(said) as rated,
    count(*) filter (said = 'accepted') as accepted,
    count(true_rank) as truths,
    count(*) filter (true_rank = 1) as truth_first,
    count(*) filter (true_rank > 0) as truth_listed,
    quantile_cont(duration_s, [0.5, 0.95, 0.99]) as times,
    quantile_cont(llm_s, 0.5) as llm_p50_s,
    quantile_cont(duration_s - llm_s, 0.5) as own_p50_s
"""
_FAILURE = """
    prediction_id, moment as received_at, model, outcome, error_code, status, attempts, duration_s
"""


class LedgerReader:
    """Answers questions from the files as they are now. Safe for threads."""

    def __init__(self, data: Path) -> None:
        """Open nothing yet. Raises MissingExtra."""
        try:
            import duckdb
        except ModuleNotFoundError as error:
            raise MissingExtra(
                "Reports need DuckDB and pyarrow: pip install 'ddx-server[analytics]'"
            ) from error
        self._duckdb = duckdb
        self._folder = data / FOLDER
        self._lock = threading.Lock()
        self._db: Any = None

    def change(self) -> int:
        """Return a number that grows when rows come. Raises LedgerUnavailable."""
        return files.read(self._folder).change

    def figures(self, question: Question, *, counts: bool = False) -> list[Figures]:
        """Return figures for each group, in the order of its key; one for all without `by`.

        With `counts` they say how many and how they ended, no more, in a third of the time.
        """
        groups = [_group(by) for by in question.by]
        keys = "".join(f"{group} as k{place}, " for place, group in enumerate(groups))
        order = ", ".join(f"k{place} nulls last" for place in range(len(groups)))
        names, rows = self._rows(
            f"select {keys} {_COUNTS} {'' if counts else ',' + _SUMS} from ledger"
            + (f" group by all order by {order}" if keys else ""),
            question,
        )
        return [_figures(names, row, question.by) for row in rows]

    def failures(self, question: Question, limit: int) -> list[Failure]:
        """Return the newest predictions without an answer."""
        found: list[Failure] = []
        for days in (*_LAST_DAYS, None):
            names, rows = self._rows(
                f"select {_FAILURE} from ledger where outcome in ('failed', 'interrupted')"
                f" order by received_at desc, prediction_id desc limit {int(limit)}",
                question,
                days,
            )
            found = [_failure(dict(zip(names, row, strict=True))) for row in rows]
            if len(found) == limit:
                break
        return found

    def choices(self, tenant: str | None = None) -> Choices:
        """Return what the ledger's columns hold, of one tenant or of all, to choose from."""
        lists = ", ".join(f"list(distinct {by.value} order by {by.value})" for by in FILTERS)
        _, (row,) = self._rows(
            f"select min(moment), max(moment), {lists} from ledger", Question(tenant=tenant)
        )
        first, last = (value.replace(tzinfo=UTC) if value else None for value in row[:2])
        return Choices(
            first=first,
            last=last,
            values={
                by: tuple(said(value) for value in found or ())
                for by, found in zip(FILTERS, row[2:], strict=True)
            },
        )

    # --- DuckDB -------------------------------------------------------------------------

    def _rows(
        self, sql: str, question: Question, days: int | None = None
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Return names and rows; with `days`, of the newest days only."""
        for left in reversed(range(_TRIES)):
            manifest = files.read(self._folder)
            view, values = self._view(manifest, question, days)
            with self._lock:
                try:
                    answer = self._connection().execute(f"{view} {sql}", values)
                    names = [column[0] for column in answer.description]
                    found: list[tuple[Any, ...]] = answer.fetchall()
                except self._duckdb.IOException as error:
                    if left:
                        continue
                    raise LedgerUnavailable("a file of the ledger cannot be read") from error
                except self._duckdb.Error as error:
                    kind = type(error).__name__
                    raise LedgerUnavailable(f"the ledger cannot be read: {kind}") from error
                return names, found
        raise AssertionError("unreachable")

    def _connection(self) -> Any:
        if self._db is None:
            self._db = self._duckdb.connect(":memory:")
            # Nothing is fetched or written, whatever a query says.
            for setting in (
                f"memory_limit = '{_MEMORY}'",
                "threads = 2",
                "autoinstall_known_extensions = false",
                "autoload_known_extensions = false",
            ):
                self._db.execute(f"set {setting}")
        return self._db

    def _view(
        self, manifest: Manifest, question: Question, days: int | None
    ) -> tuple[str, list[Any]]:
        """Return the common tables of each query: chosen rows, each with the last word on it."""
        predictions = self._files(manifest, "predictions", question, days)
        conditions, values = _conditions(question)
        chosen = f"where {' and '.join(conditions)}" if conditions else ""
        if not manifest.of("feedback"):
            # A join by id costs as much as the figures.
            unsaid = "null::varchar as said, null::integer as true_rank"
            return (
                f"with ledger as (select *, {_AT} as moment, {unsaid} from {predictions} {chosen})",
                values,
            )
        feedback = self._files(manifest, "feedback", None)
        return (
            f"with chosen as (select *, {_AT} as moment from {predictions} {chosen}),"
            " word as (select prediction_id, arg_max(outcome, seq) as said,"
            f" arg_max(true_rank, seq) as true_rank from {feedback} group by prediction_id),"
            " ledger as (select chosen.*, word.said, word.true_rank"
            " from chosen left join word using (prediction_id))",
            values,
        )

    def _files(
        self, manifest: Manifest, kind: str, question: Question | None, days: int | None = None
    ) -> str:
        names = [
            name
            for name in manifest.of(kind)
            if question is None or _may_hold(name, question.since, question.until)
        ]
        if days is not None:
            newest = sorted({_day(name) for name in names})[-days:]
            names = [name for name in names if _day(name) in newest]
        if not names:
            return f"({_EMPTY})"
        quoted = ", ".join("'" + str(self._folder / n).replace("'", "''") + "'" for n in names)
        return f"read_parquet([{quoted}], hive_partitioning = false)"


def _group(by: By) -> str:
    if by not in TIMES:
        return by.value
    length, first = _STEPS[by]
    return f"(epoch_us(moment) - {first}000000) // {length}000000"


def _figures(names: Sequence[str], row: Sequence[Any], by: Sequence[By]) -> Figures:
    values = dict(zip(names, row, strict=True))
    key = tuple(_key(values.pop(f"k{place}"), one) for place, one in enumerate(by))
    p50_s, p95_s, p99_s = values.pop("times", None) or (None, None, None)
    return Figures(key=key, p50_s=p50_s, p95_s=p95_s, p99_s=p99_s, **values)


def _failure(values: dict[str, Any]) -> Failure:
    return Failure(**values | {"received_at": values["received_at"].replace(tzinfo=UTC)})


def _key(value: Any, by: By) -> Any:
    if by not in TIMES:
        return value
    length, first = _STEPS[by]
    return datetime.fromtimestamp(value * length + first, UTC)


def _day(name: str) -> str:
    return name.split("day=", 1)[1][:10]


def _may_hold(name: str, since: datetime | None, until: datetime | None) -> bool:
    """Say whether a day's file can have rows of that time."""
    day = _day(name)
    return (since is None or day >= since.astimezone(UTC).date().isoformat()) and (
        until is None or day <= until.astimezone(UTC).date().isoformat()
    )


def _conditions(question: Question) -> tuple[list[str], list[Any]]:
    conditions, values = list[str](), list[Any]()
    for time, sign in ((question.since, ">="), (question.until, "<")):
        if time is not None:
            conditions.append(f"{_AT} {sign} ?")
            values.append(time.astimezone(UTC).replace(tzinfo=None))
    if question.tenant is not None:
        conditions.append("starts_with(caller, ?)")
        values.append(f"{question.tenant}/")
    for by, value in question.where.items():
        if value == "none":
            conditions.append(f"{by.value} is null")
        else:
            # 0, 0.0 and 0.00 are one temperature.
            same = "try_cast(? as double)" if by is By.TEMPERATURE else "?"
            column = by.value if by is By.TEMPERATURE else f"{by.value}::varchar"
            conditions.append(f"{column} = {same}")
            values.append(value)
    return conditions, values


def _empty(columns: Sequence[tuple[str, str]]) -> str:
    return f"select {', '.join(f'null::{kind} as {name}' for name, kind in columns)} where false"


_EMPTY = _empty(
    [
        *((name, "varchar") for name in ("prediction_id", "model", "llm", "outcome")),
        *((name, "varchar") for name in ("error_code", "caller", "version", "program_digest")),
        *((name, "integer") for name in ("prompt", "top_k", "max_tokens", "status")),
        *((name, "integer") for name in ("attempts", "input_tokens", "output_tokens")),
        *((name, "double") for name in ("temperature", "duration_s", "llm_s", "cost_usd")),
        ("received_at", "timestamp"),
    ]
)
"""What is asked while there is no file: the columns that questions name."""
