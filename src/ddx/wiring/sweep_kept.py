"""A sweep and where it is kept: its folder, and MLflow's parent run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddx import __version__
from ddx.adapters.evaluation_files import draw_sweep, write_summary, write_table
from ddx.adapters.system import SystemClock
from ddx.core.caseset import CaseSet
from ddx.core.run_draft import epoch_ms
from ddx.core.sweep import Measured
from ddx.errors import DdxError, MissingExtra
from ddx.settings import Settings
from ddx.wiring.evaluation_kept import Evaluation, place

if TYPE_CHECKING:
    from ddx.adapters.mlflow_runs import SweepRuns


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A finished sweep."""

    set_name: str
    set_digest: str
    cases: int
    repeat: int
    axes: Sequence[str]
    """On which the cells differ."""
    cells: tuple[Measured, ...]
    folder: Path
    run_id: str | None = None
    """MLflow's parent run; None where it is not there."""
    notes: tuple[str, ...] = ()
    """What a reader must know, in sentences."""

    @property
    def cost_usd(self) -> float | None:
        """What all answers cost; None where unknown."""
        known = [one.summary.cost.usd for one in self.cells]
        return None if None in known else sum(cost or 0.0 for cost in known)

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx sweep --json` prints it."""
        return {
            "set": self.set_name,
            "set_digest": self.set_digest,
            "n": self.cases,
            "repeat": self.repeat,
            "axes": list(self.axes),
            "cells": [one.as_json() for one in self.cells],
            "cost_usd": self.cost_usd,
            "notes": list(self.notes),
            "folder": str(self.folder),
            "mlflow_run_id": self.run_id,
        }


@dataclass(slots=True, kw_only=True)
class Parent:
    """MLflow's parent run of a sweep. Trouble with it is a note: the answers are worth more."""

    runs: SweepRuns | None = None
    run_id: str | None = None
    children: Mapping[str, str] = field(default_factory=dict)
    """Cell -> run, of cells that an earlier part of the sweep kept whole."""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def begun(
        cls, settings: Settings, earlier: str | None, params: Mapping[str, str], cases: CaseSet
    ) -> Parent:
        """Begin it, or go on with the `earlier` one."""
        from ddx.adapters.mlflow_runs import SweepRun, SweepRuns

        try:
            runs = SweepRuns(*place(settings))
            run = SweepRun(
                name=f"sweep of {cases.name}",
                start_ms=epoch_ms(SystemClock().now()),
                params=params,
                tags={"ddx.version": __version__, "ddx.set_digest": cases.digest},
            )
            id = runs.begin(run, earlier)
            children = runs.children(id) if id == earlier else {}
            return cls(runs=runs, run_id=id, children=children)
        except DdxError as error:
            why = f"Not in MLflow: {error}. {error.advice} Then --resume the sweep's folder."
            return cls(notes=[why])

    def discard(self, child: str) -> None:
        """Delete the run of a cell that has newer answers."""
        if self.runs is not None:
            try:
                self.runs.discard(child)
            except DdxError as error:
                self.notes.append(f"MLflow still has the older run {child}: {error}.")

    def stopped(self) -> None:
        """Say that the sweep was stopped."""
        self._end("KILLED", {}, [])

    def finished(
        self, metrics: Mapping[str, float], files: Sequence[tuple[Path, str | None]]
    ) -> None:
        """Give it its figures and files."""
        self._end("FINISHED", metrics, files)

    def _end(
        self,
        status: str,
        metrics: Mapping[str, float],
        files: Sequence[tuple[Path, str | None]],
    ) -> None:
        if self.runs is None or self.run_id is None:
            return
        try:
            self.runs.end(self.run_id, status, epoch_ms(SystemClock().now()), metrics, files)
        except DdxError as error:
            self.notes.append(f"MLflow's parent run is not ended: {error}. {error.advice}")


def kept(
    folder: Path,
    cases: CaseSet,
    repeat: int,
    axes: Sequence[str],
    found: Sequence[tuple[Measured, Evaluation]],
    parent: Parent | None,
) -> Sweep:
    """Write the tables and plots, end the parent run, and return the sweep."""
    notes = _notes(found)
    cells = tuple(measured for measured, _ in found)
    write_table(folder / "sweep.csv", [one.as_row() for one in cells])
    plots: list[Path] = []
    try:
        plots = draw_sweep(folder, cells)
    except MissingExtra as error:
        notes.append(f"No plots: {error}.")
    notes = list(dict.fromkeys(notes))

    def sweep() -> Sweep:
        return Sweep(
            set_name=cases.name,
            set_digest=cases.digest,
            cases=len(cases.cases),
            repeat=repeat,
            axes=axes,
            cells=cells,
            folder=folder,
            run_id=parent.run_id if parent else None,
            notes=(*notes, *(parent.notes if parent else ())),
        )

    write_summary(folder / "summary.json", sweep().as_json())
    if parent is not None:
        files = [(folder / name, None) for name in ("sweep.csv", "summary.json", "sweep.json")]
        parent.finished(_metrics(sweep()), [*files, *((plot, "plots") for plot in plots)])
    return sweep()


def _metrics(sweep: Sweep) -> dict[str, float]:
    answers = sum(one.summary.all.answered for one in sweep.cells)
    found = {"cells": float(len(sweep.cells)), "answered": float(answers)}
    return found if sweep.cost_usd is None else {**found, "cost_usd": sweep.cost_usd}


def _notes(found: Sequence[tuple[Measured, Evaluation]]) -> list[str]:
    """Return the cells' notes: one that all share once, another with its cell's name."""
    counted = Counter(note for _, evaluation in found for note in set(evaluation.notes))
    return [
        note if counted[note] == len(found) else f"{measured.label}: {note}"
        for measured, evaluation in found
        for note in evaluation.notes
    ]
