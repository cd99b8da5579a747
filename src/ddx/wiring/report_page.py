"""A report as a page, with its course over time, from settings."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from ddx.adapters import report_page
from ddx.adapters.report_page.page import Shown
from ddx.core.report import By
from ddx.services.report import Report, run_id_of
from ddx.settings import Settings
from ddx.wiring.reporting import books

_HOURS = timedelta(days=3)
_DAYS = timedelta(days=120)


def write(settings: Settings, path: Path, report: Report) -> None:
    """Write the page. Raises MissingExtra, OutputRefused, LedgerUnavailable."""
    question = report.question
    ledger = books(settings)
    span = ledger.span()
    length = timedelta(0)
    if span is not None:
        first = max(filter(None, (span[0], question.since)))
        length = min(filter(None, (span[1], question.until))) - first
    step = By.HOUR if length <= _HOURS else By.DAY if length <= _DAYS else By.WEEK
    title = "Predictions"
    if span is not None:
        title += f" {first:%Y-%m-%d} to {first + length:%Y-%m-%d}"
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
