"""An evaluation and where it is kept: its folder, and MLflow."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ddx.adapters import http_probe
from ddx.adapters.evaluation_files import (
    HEAD,
    draw,
    lines,
    write_cases,
    write_pheval,
    write_report,
    write_summary,
)
from ddx.adapters.system import SystemClock
from ddx.core.caseset import CaseSet
from ddx.core.evaluation import Plan, Row
from ddx.core.peers import Peer, PublishedRow
from ddx.core.response import DISCLAIMER
from ddx.core.run_draft import epoch_ms
from ddx.core.stability import Stability
from ddx.core.summary import Figures, Summary
from ddx.errors import DdxError, MissingExtra
from ddx.settings import Settings
from ddx.wiring.mlflow_login import come_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that came of it."""

    plan: Plan
    cases: CaseSet
    rows: tuple[Row, ...]
    summary: Summary
    published: tuple[PublishedRow, ...]
    peers: tuple[Peer, ...]
    folder: Path
    stability: Stability | None = None
    """None where no case was asked twice."""
    run_id: str | None = None
    """MLflow's; None where it is not there."""
    notes: tuple[str, ...] = field(default=())
    """What a reader must know, in sentences."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx evaluate --json` prints it."""
        return {
            "set": self.plan.set_name,
            "set_digest": self.plan.set_digest,
            "model": self.plan.model,
            **self.summary.as_json(),
            "stability": self.stability.as_json() if self.stability else None,
            "plan": asdict(self.plan),
            "dropped": dict(self.cases.dropped),
            "published": [row.as_json() for row in self.published],
            "same_cases": [peer.as_json() for peer in self.peers],
            "notes": list(self.notes),
            "folder": str(self.folder),
            "mlflow_run_id": self.run_id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """The sweep that an evaluation is a cell of."""

    run_id: str
    """MLflow's parent run."""
    cell: str
    """Name of the cell, unique in its sweep."""


def kept(
    settings: Settings,
    evaluation: Evaluation,
    started: datetime,
    *,
    mlflow: bool,
    within: Within | None = None,
) -> Evaluation:
    """Write the folder and the run; return the evaluation with the run's id.

    What could not be made is said in its notes: the answers are worth more than a plot.
    """
    folder, plan = evaluation.folder, evaluation.plan
    cases = {case.id: case for case in evaluation.cases.cases}
    write_cases(folder / "cases.csv", cases, evaluation.rows)
    write_pheval(folder, evaluation.rows)
    plots: list[Path] = []
    try:
        plots = draw(folder, evaluation.summary, evaluation.rows, evaluation.published, plan.top)
    except MissingExtra as error:
        evaluation = _noted(evaluation, f"No plots: {error}.")
    write_report(
        folder / "report.html",
        plan=plan,
        cases=cases,
        rows=evaluation.rows,
        summary=evaluation.summary,
        published=evaluation.published,
        peers=evaluation.peers,
        plots=plots,
        notes=evaluation.notes,
        disclaimer=DISCLAIMER,
    )
    write_summary(folder / "summary.json", evaluation.as_json())
    if mlflow:
        try:
            return replace(evaluation, run_id=_run(settings, evaluation, started, within))
        except DdxError as error:
            return _noted(evaluation, f"Not in MLflow: {error}. {error.advice}")
    return evaluation


def _noted(evaluation: Evaluation, note: str) -> Evaluation:
    return replace(evaluation, notes=(*evaluation.notes, note))


def _run(
    settings: Settings, evaluation: Evaluation, started: datetime, within: Within | None
) -> str:
    from ddx.adapters.mlflow_runs import CELL_TAG, PARENT_TAG, EvaluationRun, keep_evaluation

    plan = evaluation.plan
    cases = {case.id: case for case in evaluation.cases.cases}
    columns = zip(*lines(cases, evaluation.rows), strict=True)
    programs = sorted({row.program for row in evaluation.rows if row.program})
    run = EvaluationRun(
        name=within.cell if within else f"{plan.set_name} {plan.model}",
        start_ms=epoch_ms(started),
        end_ms=epoch_ms(SystemClock().now()),
        params={name: str(value) for name, value in asdict(plan).items()},
        metrics=metrics(evaluation.summary, evaluation.stability),
        tags={
            "ddx.version": plan.version,
            "ddx.set_digest": plan.set_digest,
            "ddx.program_digest": ", ".join(programs),
            **({PARENT_TAG: within.run_id, CELL_TAG: within.cell} if within else {}),
        },
        set_name=plan.set_name,
        set_digest=plan.set_digest,
        table={name: _texts(column) for name, column in zip(HEAD, columns, strict=True)},
        folder=evaluation.folder,
    )
    return keep_evaluation(*place(settings), run)


def place(settings: Settings) -> tuple[str, str | None, str]:
    """Return MLflow's address, the folder for its files where they are ours to place, and the
    folder of its experiments.

    Where MLflow's server does not run, the address is the store behind it.
    """
    come_in(settings)
    ours = None if settings.tracking_uri else settings.artifacts_path
    if settings.tracking_uri or http_probe.listens(settings.mlflow_uri):
        return settings.mlflow_uri, ours, settings.experiments_in
    return settings.db_uri, ours, ""


def metrics(summary: Summary, stability: Stability | None = None) -> dict[str, float]:
    """Return what MLflow can sort and plot: `top_1`, its interval, `clean/top_1` and so on."""
    found: dict[str, float] = {}
    for stratum, figures in {"": summary.all, **summary.strata}.items():
        prefix = f"{stratum}/" if stratum else ""
        found |= {f"{prefix}{name}": value for name, value in _figures(figures).items()}
    cost = summary.cost
    more = {
        "calibration_error": summary.calibration.error if summary.calibration else None,
        "brier": summary.calibration.brier if summary.calibration else None,
        "p50_s": cost.p50_s,
        "p95_s": cost.p95_s,
        "cost_usd": cost.usd,
        "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens,
        "same_first_diagnosis": summary.stable,
        "stability_first": stability.first.value if stability else None,
        "stability_top_5": stability.overlap.value if stability else None,
    }
    return found | {name: float(value) for name, value in more.items() if value is not None}


def _figures(figures: Figures) -> dict[str, float]:
    estimates = {
        **{f"top_{k}": one for k, one in figures.tops.items()},
        "mrr": figures.mrr,
        "ndcg_10": figures.ndcg_10,
        **{f"top_{k}_with_grouping": one for k, one in figures.tops_grouping.items()},
    }
    counts = ("n", "answered", "declined", "failed")
    found = {name: float(getattr(figures, name)) for name in counts}
    for name, one in estimates.items():
        found |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
    return found


def _texts(column: tuple[Any, ...]) -> list[Any]:
    """Return a column in which what is not known is empty, as MLflow's tables want it."""
    return ["" if value is None else value for value in column]
