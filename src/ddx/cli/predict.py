"""`ddx predict`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json
from ddx.core.phenopacket import findings_of, packet_of
from ddx.core.record import (
    Answered,
    Cancelled,
    Declined,
    Diagnosis,
    Evidence,
    Failed,
    Findings,
    Request,
    Setting,
)
from ddx.errors import Interrupted, InvalidRequest

if TYPE_CHECKING:
    from ddx.core.record import Prediction

LONGEST_CASE = 50_000
_CODE = exits.EXIT_CODE


@click.command(
    name="predict",
    epilog=exits.epilog(
        'ddx predict "Fever for 3 days, headache, retro-orbital pain, petechial rash"\n'
        "ddx predict -f case.txt --top 10 --json\n"
        "cat case.txt | ddx predict",
        *(
            _CODE[name]
            for name in (
                "bad_settings",
                "master_key_unavailable",
                "wrong_master_key",
                "missing_extra",
                "invalid_request",
                "unknown_model",
                "unknown_prompt",
                "model_not_configured",
                "model_error",
                "model_deadline",
                "journal_unavailable",
                "journal_in_use",
            )
        ),
    ),
)
@click.argument("case", required=False)
@click.option(
    "-f", "--file", "source", type=click.File(encoding="utf-8"), help="Read the case from a file."
)
@click.option("--model", help="A name of `ddx models`; default: the setting default_model.")
@click.option("--prompt", type=int, help="An index of `ddx prompts`; default: the model's.")
@click.option("--top", type=click.IntRange(1, 50), default=5, show_default=True)
@as_json
def command(
    *,
    case: str | None,
    source: TextIO | None,
    model: str | None,
    prompt: int | None,
    top: int,
    as_json: bool,
) -> int:
    """Ask for one differential, here and now, without a server.

    CASE is the text, or a GA4GH phenopacket as JSON; without it and without --file it is read
    from standard input. The prediction is kept in the journal and delivered to MLflow like any
    other.
    """
    text = _case(case, source)
    from ddx.settings import load
    from ddx.wiring import serving

    settings = load()
    packet = packet_of(text)
    request = Request(
        case="" if packet else text,
        findings=_findings(packet) if packet else None,
        phenopacket=text if packet else None,
        setting=Setting.GENETICS if packet else Setting.PRIMARY_CARE,
        model_name=model or settings.default_model,
        prompt_version=prompt,
        top_differential=top,
    )
    return _show(serving.predict(settings, request), as_json=as_json)


def _findings(packet: Mapping[str, Any]) -> Findings:
    try:
        return findings_of(packet)
    except ValueError as error:
        raise InvalidRequest(f"the phenopacket: {error}", field="case") from None


def _case(case: str | None, source: TextIO | None) -> str:
    if case is not None and source is not None:
        raise click.UsageError("give the case as an argument or with --file, not both")
    if case is None and source is None and sys.stdin.isatty():
        raise click.UsageError("give a case: as an argument, with --file, or on standard input")
    try:
        text = case if case is not None else (source or sys.stdin).read()
    except UnicodeDecodeError:
        raise InvalidRequest("the case is not UTF-8 text", field="case") from None
    if not text.strip():
        raise InvalidRequest("the case is empty", field="case")
    if len(text) > LONGEST_CASE:
        raise InvalidRequest(
            f"the case has {len(text):,} characters; at most {LONGEST_CASE:,}", field="case"
        )
    return text


def _show(prediction: Prediction, *, as_json: bool) -> int:
    """Print a finished prediction; return its exit code."""
    if prediction.completion is None:
        raise Interrupted
    if as_json:
        print_json(json.loads(prediction.completion.body))
    match prediction.completion.answer.outcome:
        case Answered() as outcome:
            if not as_json:
                _show_answer(outcome)
            return exits.EXIT_OK
        case Declined() as outcome:
            if not as_json:
                click.echo(f"Too little detail: {outcome.reason}")
                _show_list("Missing", outcome.missing_information)
                _show_list("Ask", outcome.further_questions)
            return exits.EXIT_OK
        case Failed() as outcome:
            return exits.report_failure(outcome.code, outcome.message, outcome.advice)
        case Cancelled() | _:
            return exits.report(Interrupted())


def _show_answer(outcome: Answered) -> None:
    for rank, found in enumerate(outcome.diagnoses, start=1):
        _show_diagnosis(rank, found)
    if outcome.conclusion:
        click.echo(f"\n{outcome.conclusion}")
    _show_list("Missing", outcome.missing_information)
    _show_list("Ask", outcome.further_questions)


def _show_diagnosis(rank: int, found: Diagnosis) -> None:
    codes = ", ".join(code.code for code in found.codes)
    click.echo(f"{rank:>2}. {found.name}  [{found.likelihood}]" + (f"  {codes}" if codes else ""))
    for title, evidence in (("for", found.supporting), ("against", found.contradicting)):
        if evidence:
            click.echo(f"    {title}: " + "; ".join(_said(item) for item in evidence))
    if found.urgency:
        click.echo(f"    urgency: {found.urgency}")


def _said(item: Evidence) -> str:
    if item.quote is None or item.quote.casefold() == item.finding.casefold():
        return item.finding
    return f'{item.finding} ("{item.quote}")'


def _show_list(title: str, lines: tuple[str, ...]) -> None:
    if lines:
        click.echo(f"\n{title}:")
        for line in lines:
            click.echo(f"  - {line}")
