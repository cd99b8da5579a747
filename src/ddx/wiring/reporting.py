"""The ledger and reports over it, from settings."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from ddx.adapters.delivery_state import DeliveryStatusReader
from ddx.adapters.parquet_ledger import LedgerReader, ParquetLedger, files
from ddx.adapters.run_index import RunIndex
from ddx.core.report import Question
from ddx.errors import DdxError, DeliveryInUse, MissingExtra
from ddx.services.ledger import Bookkeeper
from ddx.services.report import Report, report
from ddx.settings import Settings
from ddx.wiring.cluster import PROCESS, RAY, Cluster
from ddx.wiring.doors import Journals
from ddx.wiring.evaluation_kept import place
from ddx.wiring.ledger_work import paged

log = logging.getLogger("ddx")
_JOIN_S = 10.0


def books(settings: Settings) -> LedgerReader:
    """Return what answers questions. Raises MissingExtra."""
    return LedgerReader(settings.data)


def reported(
    settings: Settings,
    question: Question,
    *,
    failures: int = 20,
    compare: tuple[str, str] | None = None,
) -> Report:
    """Return a report over all that is finished now.

    Where nobody delivers, the ledger is brought up first. Raises BadQuestion, LedgerUnavailable,
    MissingExtra.
    """
    found = books(settings)
    bring_up(settings)
    return report(found, question, failures=failures, compare=compare)


def bring_up(settings: Settings) -> int:
    """Bring the ledger up to the journals, where nobody delivers; return how many rows came."""
    if DeliveryStatusReader(settings.data).holder() is not None:
        return 0
    with closing(Journals(settings)) as journals:
        return Bookkeeper(journals, ParquetLedger(settings.data)).once()


def rebuild(settings: Settings, progress: Callable[[int], None], engine: str = PROCESS) -> int:
    """Make the ledger anew from the journals; return how many rows it has.

    `engine` is one of `cluster.PLACES`. Ray is always one of this machine, whatever ray_address
    says: journals and their keys stay here. Raises DeliveryInUse where a deliverer runs, whose it
    is, and LedgerUnavailable; and with Ray MissingExtra, ClusterUnavailable, NodeRefused.
    """
    if DeliveryStatusReader(settings.data).holder() is not None:
        raise DeliveryInUse("a deliverer runs, and keeps the ledger")
    with closing(Journals(settings)) as journals:
        ledger = ParquetLedger(settings.data)
        ledger.forget()
        keeper, total = Bookkeeper(journals, ledger), 0
        if engine == RAY:
            with Cluster(settings, address="") as cluster:
                data = str(settings.data).encode()
                total += keeper.by(cluster.connected().workers(paged, data), progress)
        total += keeper.once(progress)
        ledger.tend()
        return total


def described(settings: Settings) -> dict[str, Any]:
    """Say what the ledger has. Raises LedgerUnavailable."""
    folder = settings.data / files.FOLDER
    manifest = files.read(folder)
    return {
        "folder": str(folder),
        "rows": sum(manifest.files[name] for name in manifest.of("predictions")),
        "feedback": sum(manifest.files[name] for name in manifest.of("feedback")),
        "files": len(manifest.files),
        "bytes": sum((folder / name).stat().st_size for name in manifest.files),
    }


def verified(settings: Settings) -> dict[str, Any]:
    """Compare the ledger's sums with those of MLflow's runs.

    Raises LedgerUnavailable, TrackerUnavailable, MissingExtra. What is not delivered yet differs.
    """
    from ddx.adapters.mlflow_runs import sums

    bring_up(settings)
    (ours,) = books(settings).figures(Question())
    index = RunIndex(settings.data)
    away = {id: one.figures for id, one in index.find(index.all_ids()).items()}
    theirs = sums(*place(settings), away)
    pairs: dict[str, tuple[float, float]] = {
        "runs": (ours.predictions, theirs["runs"]),
        "success": (ours.answered + ours.declined, theirs["success"]),
        "input_tokens": (ours.input_tokens or 0, theirs["input_tokens"]),
        "output_tokens": (ours.output_tokens or 0, theirs["output_tokens"]),
        "cost_usd": (ours.cost_usd or 0.0, theirs["cost_usd"]),
    }
    differing = [
        name for name, (one, other) in pairs.items() if not math.isclose(one, other, abs_tol=1e-9)
    ]
    return {"ok": not differing, "sums": pairs, "differing": differing}


def book_once(settings: Settings) -> int:
    """Bring the ledger up, for who holds the lease of delivery; what goes wrong is logged."""
    try:
        with closing(Journals(settings)) as journals:
            return Bookkeeper(journals, ParquetLedger(settings.data)).once()
    except DdxError as error:
        _say(error)
        return 0


@contextmanager
def bookkeeping(settings: Settings) -> Iterator[None]:
    """Keep the ledger up in a thread of its own, for who holds the lease of delivery."""
    stop = threading.Event()

    def keep() -> None:
        try:
            with closing(Journals(settings)) as journals:
                Bookkeeper(journals, ParquetLedger(settings.data)).run(stop)
        except DdxError as error:
            _say(error)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=_JOIN_S)


def _say(error: DdxError) -> None:
    # Without its libraries there are no reports, and nothing else is missing.
    level = logging.INFO if isinstance(error, MissingExtra) else logging.WARNING
    extra = {"event": "no_ledger", "error_code": error.code, "reason": str(error)}
    log.log(level, "the ledger is not kept", extra=extra)
