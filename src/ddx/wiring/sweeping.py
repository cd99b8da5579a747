"""Sweeps, from settings: what is asked, what it would cost, and the asking."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ddx import __version__
from ddx.adapters.evaluation_files import read_results, read_sweep, write_sweep
from ddx.adapters.system import SystemClock
from ddx.core.caseset import CaseSet
from ddx.core.evaluation import Plan
from ddx.core.record import Request
from ddx.core.registry import EngineKind
from ddx.core.spending import FREE, Quote, Spending, spending
from ddx.core.sweep import Cell, Grid, Measured, folder_name, varying
from ddx.errors import BadCases, BadResults, DdxError, EvaluationStopped
from ddx.services.evaluate import request_of
from ddx.settings import Settings
from ddx.wiring import evaluating
from ddx.wiring.cluster import PROCESS, Cluster
from ddx.wiring.evaluation_kept import Evaluation, Within
from ddx.wiring.serving import Engines, registry
from ddx.wiring.sweep_kept import Parent, Sweep, kept

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `ddx sweep` was asked for, and keeps, so that it can be gone on with."""

    cases: Path
    grid: Grid
    top: int = 10
    limit: int | None = None
    repeat: int = 1
    knowledge: Path | None = None
    keep_all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A sweep that could begin."""

    settings: Settings
    options: Options
    cases: CaseSet
    cells: tuple[Cell, ...]
    folder: Path
    spending: Spending
    """Of what is not answered yet."""
    earlier_run: str | None = None
    """MLflow's parent run, where the sweep is gone on with."""
    notes: tuple[str, ...] = field(default=())

    @property
    def axes(self) -> list[str]:
        """On which the cells differ."""
        return varying(self.cells)

    def folder_of(self, number: int) -> Path:
        """Return the folder of a cell, numbered from 0."""
        return self.folder / "cells" / folder_name(number + 1, self.cells[number].label(self.axes))


def prepared(settings: Settings, options: Options, out: Path | None = None) -> Prepared:
    """Read the cases, and see that every cell can be asked; nothing is asked or written.

    Raises BadCases, BadResults, UnknownModel, UnknownPrompt, ModelNotConfigured.
    """
    cases = evaluating.read_cases(_evaluation(options, Cell(model="")))
    if out is None:
        moment = SystemClock().now().strftime("%Y%m%dT%H%M%S")
        name = re.sub(r"[^\w.+-]", "_", f"{moment}-{cases.name}")
        out = settings.data / "sweeps" / name
    elif out.exists() and any(out.iterdir()):
        raise BadResults(f"{out} holds files already: --resume it, or name another")
    return _prepared(settings, options, cases, out, None)


def resumed(settings: Settings, folder: Path) -> Prepared:
    """Return the sweep of a folder, to be gone on with. Raises as `prepared` does."""
    values = read_sweep(folder)
    try:
        digest, run_id = values.pop("set_digest"), values.pop("mlflow_run_id")
        knowledge = values.pop("knowledge")
        options = Options(
            cases=Path(values.pop("cases")),
            grid=Grid.from_json(values.pop("grid")),
            knowledge=Path(knowledge) if knowledge else None,
            **values,
        )
    except (KeyError, TypeError, AttributeError):
        raise BadResults(f"{folder}: its sweep.json has another form") from None
    cases = evaluating.read_cases(_evaluation(options, Cell(model="")))
    if cases.digest != digest:
        raise BadResults(f"{options.cases} has changed since this sweep began")
    return _prepared(settings, options, cases, folder, run_id)


def run(
    sweep: Prepared,
    progress: Progress,
    *,
    concurrency: int = 1,
    mlflow: bool = True,
    engine: str = PROCESS,
) -> Sweep:
    """Ask what is not answered yet; `progress` is told (done, of how many) after each answer.

    Each answer is in its cell's results file before the next; what a stop leaves is gone on with
    by `resumed`. `engine` is one of `cluster.PLACES`. Raises what `evaluating.run` does.
    """
    os.umask(0o077)
    with Cluster(sweep.settings) as cluster:
        return _run(sweep, progress, concurrency, mlflow, engine, cluster)


def _run(
    sweep: Prepared,
    progress: Progress,
    concurrency: int,
    mlflow: bool,  # noqa: FBT001
    engine: str,
    cluster: Cluster,
) -> Sweep:
    settings, options = sweep.settings, sweep.options
    engines = Engines(settings)
    grader = evaluating.grader_of(settings, options.knowledge, engines)
    sweep.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _save(sweep, sweep.earlier_run)
    parent = (
        Parent.begun(settings, sweep.earlier_run, _params(sweep), sweep.cases) if mlflow else None
    )
    if parent is not None and parent.run_id:
        _save(sweep, parent.run_id)
    each = len(sweep.cases.cases) * options.repeat
    total, found = each * len(sweep.cells), list[tuple[Measured, Evaluation]]()
    count = 0

    def at(cell: int) -> Progress:
        def tell(done: int, _: int) -> None:
            nonlocal count
            count = cell * each + done
            progress(count, total)

        return tell

    try:
        for number, cell in enumerate(sweep.cells):
            label, folder = cell.label(sweep.axes), sweep.folder_of(number)
            begun = (folder / "results.jsonl").exists()
            left = _left(folder, each)
            old = parent.children.get(label) if parent else None
            again = old is None or left > 0
            evaluation = evaluating.on_cases(
                settings,
                replace(
                    _evaluation(options, cell),
                    out=None if begun else folder,
                    resume=folder if begun else None,
                    concurrency=concurrency,
                    engine=engine,
                    mlflow=again and parent is not None and parent.run_id is not None,
                ),
                sweep.cases,
                engines,
                grader,
                at(number),
                cluster,
                Within(run_id=parent.run_id, cell=label) if parent and parent.run_id else None,
            )
            if parent is not None and old is not None and again:
                parent.discard(old)
            measured = Measured(
                cell=cell,
                label=label,
                summary=evaluation.summary,
                stability=evaluation.stability,
                folder=str(folder.relative_to(sweep.folder)),
                run_id=evaluation.run_id if again else old,
            )
            found.append((measured, evaluation))
    except (DdxError, KeyboardInterrupt) as stop:
        if parent is not None:
            parent.stopped()
        how = f"{count} of {total} answers are kept: go on with --resume {sweep.folder}"
        if isinstance(stop, KeyboardInterrupt):
            raise KeyboardInterrupt(how) from stop
        cause = stop.__cause__ if isinstance(stop, EvaluationStopped) else stop
        raise EvaluationStopped(f"{cause}. {how}") from stop
    return kept(sweep.folder, sweep.cases, options.repeat, sweep.axes, found, parent)


# --- the steps --------------------------------------------------------------------------


def _prepared(
    settings: Settings, options: Options, cases: CaseSet, folder: Path, run_id: str | None
) -> Prepared:
    if not cases.cases:
        raise BadCases(f"{options.cases} holds no case that can be used: see --keep-all")
    # A fallback's answers would be counted as the model's own.
    alone = {name: replace(model, fallback=None) for name, model in settings.models.items()}
    settings = replace(settings, models=alone)
    cells = tuple(options.grid.cells(settings.models, min(settings.prompts)))
    sweep = Prepared(
        settings=settings,
        options=options,
        cases=cases,
        cells=cells,
        folder=folder,
        spending=spending(()),
        earlier_run=run_id,
    )
    for cell in cells:
        refusal = registry(settings).refusal(request_of(cases.cases[0], _plan(sweep, cell)))
        if refusal is not None:
            raise refusal
    return replace(sweep, spending=_spending(sweep))


def _evaluation(options: Options, cell: Cell) -> evaluating.Options:
    return evaluating.Options(
        cases=options.cases,
        top=options.top,
        limit=options.limit,
        repeat=options.repeat,
        knowledge=options.knowledge,
        keep_all=options.keep_all,
        **asdict(cell),
    )


def _plan(sweep: Prepared, cell: Cell) -> Plan:
    return Plan(
        set_name=sweep.cases.name,
        set_digest="",
        cases=len(sweep.cases.cases),
        top=sweep.options.top,
        **asdict(cell),
    )


def _spending(sweep: Prepared) -> Spending:
    quotes: list[tuple[str, Quote]] = []
    for number, cell in enumerate(sweep.cells):
        done = _done(sweep.folder_of(number))
        plan = _plan(sweep, cell)
        quotes += [
            (cell.model, _quote(sweep.settings, request_of(case, plan)))
            for attempt in range(1, sweep.options.repeat + 1)
            for case in sweep.cases.cases
            if (case.id, attempt) not in done
        ]
    return spending(quotes)


def _quote(settings: Settings, request: Request) -> Quote:
    model = settings.models[request.model_name]
    if model.engine is not EngineKind.DSPY:
        return FREE
    from ddx.adapters.dspy_engine.estimate import quote
    from ddx.adapters.dspy_engine.prices import price_of

    prompt = settings.prompts[request.prompt_version or 0]
    return quote(model, request, prompt, price_of(model, settings.prices))


def _done(folder: Path) -> set[tuple[str, int]]:
    """Return what a cell need not be asked again."""
    if not (folder / "results.jsonl").exists():
        return set()
    _, rows = read_results(folder)
    return {(row.case_id, row.attempt) for row in rows if row.outcome != "failed"}


def _left(folder: Path, each: int) -> int:
    return each - len(_done(folder))


def _save(sweep: Prepared, run_id: str | None) -> None:
    options = sweep.options
    values: dict[str, Any] = {
        **asdict(options),
        "cases": str(options.cases.resolve()),
        "knowledge": str(options.knowledge.resolve()) if options.knowledge else None,
        "set_digest": sweep.cases.digest,
        "mlflow_run_id": run_id,
    }
    write_sweep(sweep.folder, values)


def _params(sweep: Prepared) -> dict[str, str]:
    grid = {
        name: ", ".join(map(str, values)) for name, values in asdict(sweep.options.grid).items()
    }
    return {
        **{name: values for name, values in grid.items() if values},
        "cells": str(len(sweep.cells)),
        "repeat": str(sweep.options.repeat),
        "top": str(sweep.options.top),
        "set_name": sweep.cases.name,
        "set_digest": sweep.cases.digest,
        "cases": str(len(sweep.cases.cases)),
        "version": __version__,
    }
