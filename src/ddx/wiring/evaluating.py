"""Evaluation, from settings."""

from __future__ import annotations

import asyncio
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from random import Random

from ddx import __version__
from ddx.adapters.casesets import MONDO_FILES, read, read_evidences, read_relations
from ddx.adapters.evaluation_files import Results, read_results
from ddx.adapters.system import SystemClock
from ddx.core.caseset import CaseSet
from ddx.core.evaluation import Plan, Row
from ddx.core.grading import Grader, Relations
from ddx.core.paired import Comparison, compare
from ddx.core.peers import PublishedRow, peers, rows_of
from ddx.core.stability import stability
from ddx.core.summary import summarise
from ddx.errors import BadResults, DdxError, EvaluationStopped
from ddx.ports import Asker
from ddx.services.evaluate import EngineAsker, evaluate, graded, request_of
from ddx.settings import Settings
from ddx.wiring import elsewhere
from ddx.wiring.callers import client_key
from ddx.wiring.cluster import PROCESS, RAY, Cluster
from ddx.wiring.evaluation_kept import Evaluation, Within, kept
from ddx.wiring.knowledge import store as knowledge_store
from ddx.wiring.privacy import masker
from ddx.wiring.serving import Engines, registry

SEED = 20240701
"""Of resamples: the same results file gives the same intervals."""
_SERVER_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `ddx evaluate` was asked for."""

    cases: Path
    model: str
    prompt: int | None = None
    setting: str | None = None
    temperature: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    top: int = 10
    limit: int | None = None
    repeat: int = 1
    concurrency: int = 1
    server: str | None = None
    engine: str = PROCESS
    """One of `cluster.PLACES`: where the cases are asked, without a server."""
    knowledge: Path | None = None
    """Folder with Mondo's cross-references, and with DDXPlus's evidences."""
    keep_all: bool = False
    out: Path | None = None
    resume: Path | None = None
    mlflow: bool = True


def run(settings: Settings, options: Options, progress: Callable[[int, int], None]) -> Evaluation:
    """Evaluate; `progress` is told (done, of how many) after each answer.

    Raises BadCases, BadResults, UnknownModel, UnknownPrompt, ModelNotConfigured, MissingExtra,
    ServerUnreachable, ClusterUnavailable, NodeRefused, EvaluationStopped.
    """
    os.umask(0o077)
    cases, engines = read_cases(options), Engines(settings)
    grader = grader_of(settings, options.knowledge, engines)
    with Cluster(settings) as cluster:
        return on_cases(settings, options, cases, engines, grader, progress, cluster)


def on_cases(
    settings: Settings,
    options: Options,
    cases: CaseSet,
    engines: Engines,
    grader: Grader,
    progress: Callable[[int, int], None],
    cluster: Cluster,
    within: Within | None = None,
) -> Evaluation:
    """Evaluate on cases that are read, with engines that may be loaded; see `run`."""
    from ddx.adapters.knowledge.names import name_key

    started = SystemClock().now()
    plan = _plan(settings, options, cases)
    done, folder = _resumed(options, plan)
    asker, at_once = _asker(settings, options, plan, cases, engines, cluster)
    folder = folder or _folder(settings, options, plan)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    results = Results(folder / "results.jsonl", plan)
    count, total = len(done), len(cases.cases) * plan.repeat

    def keep(row: Row) -> None:
        nonlocal count
        count += 1
        results.keep(row)
        progress(count, total)

    try:
        new = asyncio.run(
            evaluate(
                cases,
                plan,
                asker,
                grader,
                done=done.keys(),
                concurrency=at_once,
                keep=keep,
            )
        )
    except DdxError as error:
        if not count:
            raise
        raise EvaluationStopped(f"{error}. {_resume(count, total, folder)}") from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(_resume(count, total, folder)) from stop
    finally:
        results.close()
    by_id = {case.id: case for case in cases.cases}
    found = {(row.case_id, row.attempt): row for row in new}
    found |= {key: graded(by_id[row.case_id], row, grader) for key, row in done.items()}
    rows = tuple(
        found[case.id, attempt] for attempt in range(1, plan.repeat + 1) for case in cases.cases
    )
    results.replace(rows)
    evaluation = Evaluation(
        plan=plan,
        cases=cases,
        rows=rows,
        summary=summarise(cases.cases, rows, _luck()),
        published=published(plan.set_name),
        peers=peers(cases.cases, rows, _luck()),
        stability=stability(rows, name_key, _luck()),
        folder=folder,
        notes=_notes(settings, options, cases, rows),
    )
    return kept(settings, evaluation, started, mlflow=options.mlflow, within=within)


def compared(first: Path, second: Path) -> tuple[Plan, Plan, Comparison]:
    """Compare two results files of the same cases. Raises BadResults."""
    (one, rows), (other, others) = read_results(first), read_results(second)
    if one.set_digest != other.set_digest:
        raise BadResults(
            f"{first} and {second} are results of different cases ({one.set_name}, {one.cases};"
            f" {other.set_name}, {other.cases})"
        )
    return one, other, compare(rows, others, _luck())


def published(set_name: str) -> tuple[PublishedRow, ...]:
    """Return what others published on a set."""
    text = (resources.files("ddx.defaults") / "published.toml").read_text(encoding="utf-8")
    return rows_of(tomllib.loads(text), set_name)


def _resume(count: int, total: int, folder: Path) -> str:
    return f"{count} of {total} answers are kept: go on with --resume {folder}"


def _luck() -> Random:
    return Random(SEED)  # noqa: S311  (for resamples)


# --- the steps --------------------------------------------------------------------------


def read_cases(options: Options) -> CaseSet:
    """Return the cases that the options choose. Raises BadCases."""
    cases = read(options.cases, partial(read_evidences, options.knowledge))
    return (cases if options.keep_all else cases.usable()).first(options.limit)


def _plan(settings: Settings, options: Options, cases: CaseSet) -> Plan:
    model = settings.models.get(options.model)
    return Plan(
        set_name=cases.name,
        set_digest=cases.digest,
        cases=len(cases.cases),
        model=options.model,
        llm=model.llm if model else None,
        prompt=options.prompt,
        setting=options.setting,
        temperature=options.temperature,
        top_k=options.top_k,
        max_tokens=options.max_tokens,
        top=options.top,
        repeat=options.repeat,
        through=options.server or ("Ray" if options.engine == RAY else "in process"),
        version=__version__,
    )


def _resumed(options: Options, plan: Plan) -> tuple[dict[tuple[str, int], Row], Path | None]:
    """Return the answers that need not be asked for again, and their folder."""
    if options.resume is None:
        return {}, None
    earlier, rows = read_results(options.resume)
    if replace(earlier, version=plan.version, through=plan.through) != plan:
        differing = [
            name
            for name, value in asdict(plan).items()
            if name not in ("version", "through") and asdict(earlier)[name] != value
        ]
        raise BadResults(f"{options.resume} answers another question: {', '.join(differing)}")
    folder = options.resume if options.resume.is_dir() else options.resume.parent
    return {(r.case_id, r.attempt): r for r in rows if r.outcome != "failed"}, folder


def _asker(
    settings: Settings,
    options: Options,
    plan: Plan,
    cases: CaseSet,
    engines: Engines,
    cluster: Cluster,
) -> tuple[Asker, int]:
    """Return what is asked, and how many cases at a time."""
    if options.server:
        from ddx.adapters.http_server import ServerAsker

        asker = ServerAsker(options.server, _SERVER_TIMEOUT_S, client_key(settings))
        return asker, options.concurrency
    if cases.cases:
        refusal = registry(settings).refusal(request_of(cases.cases[0], plan))
        if refusal is not None:
            raise refusal
    if options.engine == RAY:
        return elsewhere.asker(settings, cluster, engines, options.model, options.concurrency)
    model = settings.models[options.model]
    engine = engines.engine_of(model)
    # Loaded now: the first case's time is its own.
    warm = getattr(engine, "warm", None)
    if warm is not None:
        warm()
    return EngineAsker(engine, model, SystemClock(), masker(settings)), options.concurrency


def grader_of(settings: Settings, knowledge: Path | None, engines: Engines) -> Grader:
    """Return what tells whether a diagnosis is the truth."""
    from ddx.adapters.knowledge.names import name_key

    folder = _mondo(settings, knowledge)
    relations = read_relations(folder) if folder else Relations()
    return Grader(
        name_key=name_key,
        relations=relations,
        ground=partial(ids_of, engines),
    )


def ids_of(engines: Engines, name: str) -> tuple[str, ...]:
    """Return what a name is grounded to, as truths are written: `ICD-10:J06.9`, `MONDO:0005709`."""
    return tuple(
        code.code if ":" in code.code else f"{code.system}:{code.code}"
        for code in engines.terminology().codes(name)
    )


def _mondo(settings: Settings, knowledge: Path | None) -> Path | None:
    """Return the folder with Mondo to grade by: the one that is named, else added knowledge."""
    shelf = knowledge_store(settings).current() if knowledge is None else None
    folder = shelf.folder if shelf else knowledge
    if folder is None or not all((folder / name).exists() for name in MONDO_FILES):
        return None
    return folder


def _folder(settings: Settings, options: Options, plan: Plan) -> Path:
    if options.out is not None:
        if (options.out / "results.jsonl").exists():
            raise BadResults(f"{options.out} holds results already: --resume it, or name another")
        return options.out
    moment = SystemClock().now().strftime("%Y%m%dT%H%M%S")
    name = re.sub(r"[^\w.+-]", "_", f"{moment}-{plan.set_name}-{plan.model}")
    return settings.data / "evaluations" / name


def _notes(
    settings: Settings, options: Options, cases: CaseSet, rows: Sequence[Row]
) -> tuple[str, ...]:
    notes = [
        f"{n} cases left out: {why} (--keep-all keeps them)" for why, n in cases.dropped.items()
    ]
    if _mondo(settings, options.knowledge) is None:
        notes.append(
            "Graded by the codes of the answers and by names alone: --knowledge FOLDER, or"
            " `ddx knowledge add`, adds Mondo's equivalents and groups."
        )
    for name, n in sorted(Counter(name for row in rows for name in row.dropped).items()):
        notes.append(f"{n} of {len(rows)} answers were made without {name}: the model takes none.")
    return tuple(notes)
