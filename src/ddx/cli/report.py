"""`ddx report`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, print_table

if TYPE_CHECKING:
    from ddx.core.report import By, Difference
    from ddx.services.report import Report

_CODE = exits.EXIT_CODE
_BYS = (
    *("hour", "day", "week", "model", "llm", "prompt", "temperature", "top_k", "max_tokens"),
    *("outcome", "error_code", "caller", "version", "program_digest"),
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FILE = click.Path(dir_okay=False, path_type=Path)


class Moment(click.ParamType[datetime]):
    """A time, or how long ago: `2026-01-31`, `2026-01-31T08:00`, `24h`, `7d`."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return it with its zone; without one it is UTC."""
        text = str(value)
        if text[:-1].isdecimal() and text[-1:] in _UNITS:
            return datetime.now(UTC) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail("a time is 2026-01-31, 2026-01-31T08:00, or 30m, 24h, 7d, 4w ago", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


class Several(click.ParamType[tuple[str, ...]]):
    """Names with commas between them."""

    name = "name,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return them in their order."""
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",")))
        for name in names:
            if name not in _BYS:
                self.fail(f"{name!r} is none of {', '.join(_BYS)}", param, ctx)
        return names


@click.command(
    name="report",
    epilog=exits.epilog(
        "ddx report --since 7d --by day,model\n"
        "ddx report --by model --compare gemini-2.0-flash gpt-4o\n"
        "ddx report --since 30d --by prompt --html report.html",
        _CODE["bad_settings"],
        _CODE["missing_extra"],
        _CODE["bad_question"],
        _CODE["ledger_unavailable"],
        _CODE["output_refused"],
    ),
)
@click.option("--since", type=Moment(), help="From this time on: 2026-01-31, or 24h, 7d, 4w ago.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--by", type=Several(), default=(), help=f"Groups: {', '.join(_BYS)}.")
@click.option("--model", help="Only this model; likewise below. `none`: those without.")
@click.option("--prompt", help="Only this prompt configuration.")
@click.option("--outcome", help="answered, insufficient_information, failed, cancelled, …")
@click.option("--error-code", help="Only this error.")
@click.option("--caller", help="Only this caller.")
@click.option("--temperature", help="Only this temperature, as sent.")
@click.option(
    "--compare", nargs=2, metavar="ONE OTHER", help="Two values of --by: is it more than chance?"
)
@click.option(
    "--failures", type=click.IntRange(0, 10_000), default=20, show_default=True, help="To list."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the groups as CSV.")
@click.option("--md", "as_md", is_flag=True, help="Print Markdown.")
@click.option("--html", type=_FILE, help="Write one file with charts, which needs nothing else.")
@as_json
def command(
    *,
    since: datetime | None,
    until: datetime | None,
    by: tuple[str, ...],
    model: str | None,
    prompt: str | None,
    outcome: str | None,
    error_code: str | None,
    caller: str | None,
    temperature: str | None,
    compare: tuple[str, str] | None,
    failures: int,
    as_csv: bool,
    as_md: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Say how many predictions there were, how they ended, how long they took and what they cost.

    Figures are of the ledger, which follows the journals by about two seconds and holds no
    patient text; success is what MLflow's runs call `success`.
    """
    from ddx.core.report import By, Question
    from ddx.settings import load
    from ddx.wiring.reporting import reported

    where = {
        By.MODEL: model,
        By.PROMPT: prompt,
        By.OUTCOME: outcome,
        By.ERROR_CODE: error_code,
        By.CALLER: caller,
        By.TEMPERATURE: temperature,
    }
    question = Question(
        since=since,
        until=until,
        by=tuple(By(name) for name in by),
        where={one: value for one, value in where.items() if value is not None},
    )
    settings = load()
    found = reported(settings, question, failures=failures, compare=compare)
    if html is not None:
        from ddx.wiring.report_page import write

        write(settings, html, found)
        click.echo(f"{html}: written", err=True)
    if as_json:
        print_json(found.as_json())
    elif as_csv:
        from ddx.core.report_text import csv

        click.echo(csv(found.groups or (found.all,), question.by), nl=False)
    elif as_md:
        from ddx.core.report_text import markdown

        click.echo(markdown(found.all, found.groups, question.by), nl=False)
    elif html is None:
        _show(found)


def _show(found: Report) -> None:
    from ddx.core.report_text import HEAD, cells, key
    from ddx.services.report import run_id_of

    by: tuple[By, ...] = found.question.by
    print_table(
        (*(one.value for one in by), *HEAD),
        [
            *((*key(one, by), *cells(one)) for one in found.groups),
            (*(("all",) + ("",) * (len(by) - 1) if by else ()), *cells(found.all)),
        ],
    )
    for one in found.differences:
        click.echo(_said(one, found.compared or ("", "")))
    if found.failures:
        click.echo()
        print_table(
            ("failed at", "model", "outcome", "error", "prediction", "MLflow run"),
            [
                (
                    one.received_at.strftime("%Y-%m-%d %H:%M:%S"),
                    one.model,
                    one.outcome,
                    one.error_code,
                    one.prediction_id,
                    run_id_of(one),
                )
                for one in found.failures
            ],
        )


def _said(one: Difference, names: tuple[str, str]) -> str:
    first, second = one.first, one.second
    verdict = "more than chance explains" if one.p < 0.05 else "within what chance explains"
    return (
        f"{one.figure}: {names[0]} {100 * first.value:.1f} % of {one.first_n},"
        f" {names[1]} {100 * second.value:.1f} % of {one.second_n}; p = {one.p:.2g}, {verdict}"
    )
