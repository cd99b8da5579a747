"""A report as a page, with its course over time, from settings."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from ddx.adapters import report_page
from ddx.adapters.report_page.page import Shown
from ddx.core.report import step_of
from ddx.services.report import Report, run_id_of
from ddx.settings import Settings
from ddx.wiring.reporting import books


def write(settings: Settings, path: Path, report: Report) -> None:
    """Write the page. Raises MissingExtra, OutputRefused, LedgerUnavailable."""
    question = report.question
    ledger = books(settings)
    there = ledger.choices()
    length = timedelta(0)
    title = "Predictions"
    if there.first and there.last:
        first = max(filter(None, (there.first, question.since)))
        length = min(filter(None, (there.last, question.until))) - first
        title += f" {first:%Y-%m-%d} to {first + length:%Y-%m-%d}"
    step = step_of(length)
    report_page.write(
        path,
        Shown(
            title=title,
            all=report.all,
            by=question.by,
            groups=report.groups,
            times=ledger.figures(replace(question, by=(step,))),
            step=step,
            failures=[(one, run_id_of(one)) for one in report.failures],
            differences=report.differences,
            compared=report.compared,
        ),
    )
