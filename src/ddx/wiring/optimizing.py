"""Compiled programs, from settings: what is split, what it would cost, and the compiling."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddx import __version__
from ddx.adapters.evaluation_files import write_summary
from ddx.adapters.system import SystemClock
from ddx.core.caseset import Case, CaseSet
from ddx.core.compiled import Compiled
from ddx.core.evaluation import Plan
from ddx.core.grading import Listed
from ddx.core.optimizing import LEAST_EACH, Effort, Optimizer, Split, effort, split
from ddx.core.paired import Comparison
from ddx.core.registry import EngineKind, Model
from ddx.core.spending import Quote, Spending, spending
from ddx.errors import BadCases, DdxError, MissingExtra, OutputRefused, SettingsError
from ddx.services.evaluate import request_of
from ddx.settings import Settings
from ddx.wiring import evaluating
from ddx.wiring.cluster import Cluster
from ddx.wiring.evaluation_kept import Evaluation, place
from ddx.wiring.serving import Engines, registry

if TYPE_CHECKING:
    from ddx.adapters.dspy_engine.optimizer import Outlay

Progress = Callable[[str, int, int], None]
"""Told (what is done now, done, of how many)."""
PROGRAM, PROVENANCE = "program.json", "provenance.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `ddx optimize` was asked for."""

    cases: Path
    model: str
    optimizer: Optimizer
    prompt: int | None = None
    train: float = 0.5
    """Share of the diseases whose cases are trained on."""
    calls: int | None = None
    demos: int = 2
    seed: int = 1
    top: int = 10
    limit: int | None = None
    concurrency: int = 1
    knowledge: Path | None = None
    out: Path | None = None
    mlflow: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A compiling that could begin."""

    settings: Settings
    options: Options
    cases: CaseSet
    split: Split
    effort: Effort
    folder: Path
    spending: Spending
    """Of the calls while compiling, and of the test cases, asked twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimized:
    """A compiled program, and how much better it is on cases that no optimiser saw."""

    program: Path
    compiled: Compiled
    provenance: dict[str, Any]
    before: Evaluation
    after: Evaluation
    comparison: Comparison
    folder: Path
    run_id: str | None = None
    version: str | None = None
    """In MLflow's model registry, as `name/version`."""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as `ddx optimize --json` prints it."""
        return {
            **self.provenance,
            "program": str(self.program),
            "folder": str(self.folder),
            "mlflow_run_id": self.run_id,
            "mlflow_model": self.version,
            "notes": list(self.notes),
        }


def prepared(settings: Settings, options: Options) -> Prepared:
    """Read and split the cases; nothing is asked or written.

    Raises BadCases, UnknownModel, UnknownPrompt, ModelNotConfigured, SettingsError,
    MissingExtra, OutputRefused.
    """
    if find_spec("dspy") is None:
        raise MissingExtra("Programs are compiled by DSPy: pip install 'ddx-server[llm]'")
    cases = evaluating.read_cases(_evaluation(options))
    found = split(cases.cases, options.train, options.seed)
    if min(len(found.train), len(found.test)) < LEAST_EACH:
        raise BadCases(
            f"{options.cases} gives {len(found.train)} cases to train on and {len(found.test)} to"
            f" test with, all cases of a disease on one side: each side needs {LEAST_EACH}"
        )
    refusal = registry(settings).refusal(request_of(cases.cases[0], _plan(options)))
    if refusal is not None:
        raise refusal
    model = settings.models[options.model]
    if model.engine is not EngineKind.DSPY:
        raise SettingsError(f"{options.model} is no LLM: there is no prompt to optimise")
    # A fallback's answers would be taken for the model's own, and what is compiled begins anew.
    alone = {**settings.models, options.model: replace(model, fallback=None, program=None)}
    settings = replace(settings, models=alone)
    made = effort(options.optimizer, len(found.train), options.calls, options.demos)
    folder = _folder(settings, options)
    if (folder / PROGRAM).exists():
        raise OutputRefused(f"{folder} holds a program already")
    return Prepared(
        settings=settings,
        options=options,
        cases=cases,
        split=found,
        effort=made,
        folder=folder,
        spending=_spending(settings, options, found, made),
    )


def run(prepared: Prepared, progress: Progress) -> Optimized:
    """Measure, compile, measure again, keep. Raises as `evaluating.run`, and NothingLearned."""
    from ddx.adapters.dspy_engine import library, program_file

    os.umask(0o077)
    settings, options, folder = prepared.settings, prepared.options, prepared.folder
    engines = Engines(settings)
    grader = evaluating.grader_of(settings, options.knowledge, engines)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tests = _tests(prepared)

    def measured(name: str, settings: Settings, engines: Engines) -> Evaluation:
        asked = replace(_evaluation(options), out=folder / name, mlflow=False)
        tell = lambda done, total: progress(f"test cases, {name}", done, total)  # noqa: E731
        return evaluating.on_cases(settings, asked, tests, engines, grader, tell, Cluster(settings))

    def rank(case: Case, listed: Sequence[Listed]) -> int | None:
        coded = [replace(one, ids=evaluating.ids_of(engines, one.name)) for one in listed]
        return grader.grade(case.truth, coded).rank

    before = measured("before", settings, engines)
    state, outlay = library.optimizer().compiled(
        _lessons(prepared, rank),
        options.optimizer,
        lambda done, total: progress("calls while compiling", done, total),
    )
    account = state["metadata"]["ddx"]
    account |= _account(prepared)
    program = folder / PROGRAM
    compiled = program_file.write(program, state)
    model = replace(settings.models[options.model], program=str(program.resolve()))
    after_settings = replace(settings, models={**settings.models, model.name: model})
    after = measured("after", after_settings, Engines(after_settings))
    comparison = evaluating.compared(folder / "before", folder / "after")[2]
    provenance = _provenance(account, compiled, outlay, prepared, before, after, comparison)
    write_summary(folder / PROVENANCE, provenance)
    optimized = Optimized(
        program=program,
        compiled=compiled,
        provenance=provenance,
        before=before,
        after=after,
        comparison=comparison,
        folder=folder,
        notes=after.notes,
    )
    return _in_mlflow(settings, options, optimized) if options.mlflow else optimized


# --- the steps --------------------------------------------------------------------------


def _lessons(prepared: Prepared, rank: Callable[[Case, Sequence[Listed]], int | None]) -> Any:
    from ddx.adapters.dspy_engine import library

    settings, options = prepared.settings, prepared.options
    model = settings.models[options.model]
    asked = {
        name: value
        for name in ("temperature", "max_tokens", "top_k")
        if (value := getattr(model, name)) is not None
    }
    return library.optimizer().Lessons(
        model=model,
        api_key=settings.api_key(model),
        prompt=settings.prompts[_prompt(settings, model, options)],
        parameters=asked,
        prices=settings.prices,
        train=prepared.split.train,
        rank=rank,
        effort=prepared.effort,
        top=options.top,
        seed=options.seed,
        concurrency=options.concurrency,
    )


def _prompt(settings: Settings, model: Model, options: Options) -> int:
    for index in (options.prompt, model.prompt):
        if index is not None:
            return index
    return min(settings.prompts)


def _evaluation(options: Options) -> evaluating.Options:
    return evaluating.Options(
        cases=options.cases,
        model=options.model,
        prompt=options.prompt,
        top=options.top,
        limit=options.limit,
        concurrency=options.concurrency,
        knowledge=options.knowledge,
    )


def _plan(options: Options) -> Plan:
    return Plan(
        set_name="",
        set_digest="",
        cases=0,
        model=options.model,
        prompt=options.prompt,
        top=options.top,
    )


def _tests(prepared: Prepared) -> CaseSet:
    return replace(prepared.cases, cases=prepared.split.test)


def _spending(settings: Settings, options: Options, split: Split, made: Effort) -> Spending:
    from ddx.adapters.dspy_engine.estimate import quote
    from ddx.adapters.dspy_engine.prices import price_of

    model = settings.models[options.model]
    price = price_of(model, settings.prices)
    prompt = settings.prompts[_prompt(settings, model, options)]

    def quoted(case: Case) -> Quote:
        asked = replace(
            request_of(case, _plan(options)),
            max_tokens=model.max_tokens,
        )
        return quote(model, asked, prompt, price)

    # Examples make a prompt longer: each adds about what a question and its answer have.
    train = [quoted(split.train[n % len(split.train)]) for n in range(made.calls)]
    tests = [quoted(case) for case in split.test]
    longer = [_times(one, 1 + made.demos) for one in tests]
    return spending([(model.name, one) for one in [*train, *tests, *longer]])


def _times(one: Quote, times: int) -> Quote:
    return Quote(
        likely=None if one.likely is None else one.likely * times,
        most=None if one.most is None else one.most * times,
    )


def _account(prepared: Prepared) -> dict[str, Any]:
    """Return where a program comes from, as its file says it: nothing of any patient."""
    options, settings, found = prepared.options, prepared.settings, prepared.split
    train = replace(prepared.cases, cases=found.train)
    tests = _tests(prepared)
    return {
        "made_by": f"ddx {__version__}",
        "made_at": SystemClock().now().isoformat(timespec="seconds"),
        "model": options.model,
        "llm": settings.models[options.model].llm,
        "optimizer": options.optimizer.value,
        "seed": options.seed,
        "effort": asdict(prepared.effort),
        "set_name": prepared.cases.name,
        "set_digest": prepared.cases.digest,
        "train": {"cases": len(found.train), "digest": train.digest},
        "test": {"cases": len(found.test), "digest": tests.digest},
    }


def _provenance(
    account: dict[str, Any],
    compiled: Compiled,
    outlay: Outlay,
    prepared: Prepared,
    before: Evaluation,
    after: Evaluation,
    comparison: Comparison,
) -> dict[str, Any]:
    return {
        **account,
        "digest": compiled.digest,
        "dspy": compiled.dspy,
        "demos": len(compiled.demos),
        "instructions_changed": compiled.instructions
        != prepared.settings.prompts[account["prompt_index"]].text.strip(),
        "compiling": asdict(outlay),
        "before": before.summary.as_json(),
        "after": after.summary.as_json(),
        "comparison": comparison.as_json(),
    }


def _folder(settings: Settings, options: Options) -> Path:
    if options.out is not None:
        return options.out
    moment = SystemClock().now().strftime("%Y%m%dT%H%M%S")
    name = re.sub(r"[^\w.+-]", "_", f"{moment}-{options.model}-{options.optimizer}")
    return settings.data / "programs" / name


def _in_mlflow(settings: Settings, options: Options, optimized: Optimized) -> Optimized:
    from ddx.adapters.mlflow_runs import ProgramRun, keep_program
    from ddx.core.run_draft import epoch_ms
    from ddx.wiring.evaluation_kept import metrics

    provenance = optimized.provenance
    said = {
        name: str(provenance[name])
        for name in ("llm", "optimizer", "seed", "set_name", "demos", "instructions_changed")
    }
    figures = {
        f"{when}/{name}": value
        for when, one in (("before", optimized.before), ("after", optimized.after))
        for name, value in metrics(one.summary).items()
    }
    run = ProgramRun(
        name=f"{options.model} {options.optimizer}",
        model=re.sub(r"[/:]", "-", f"ddx-{options.model}"),
        at_ms=epoch_ms(SystemClock().now()),
        params={**said, "model": options.model, "prompt": str(provenance["prompt_index"])},
        metrics=figures,
        tags={
            "ddx.version": __version__,
            "ddx.set_digest": provenance["set_digest"],
            "ddx.program_file_digest": provenance["digest"],
            "ddx.dspy": str(provenance["dspy"]),
        },
        files=(optimized.program, optimized.folder / PROVENANCE),
    )
    try:
        run_id, version = keep_program(*place(settings), run)
    except DdxError as error:
        note = f"Not in MLflow: {error}. {error.advice}"
        return replace(optimized, notes=(*optimized.notes, note))
    return replace(optimized, run_id=run_id, version=version)
