"""The deliverer's process: journals in, MLflow out."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from ddx.adapters import logs, processes
from ddx.adapters.delivery_state import DeliveryStatusReader, SqliteDeliveryState
from ddx.adapters.ed25519 import Ed25519Signer
from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader, find_journals
from ddx.adapters.system import SystemClock, luck, yield_to_others
from ddx.core import ids
from ddx.core.chain import Checkpoint
from ddx.core.record import PredictionId
from ddx.errors import DdxError, DeliveryInUse
from ddx.ports import JournalReader, Runs, Vault
from ddx.services.admission import Backlog
from ddx.services.deliver import Deliverer, undelivered, waiting
from ddx.services.recover import Adoption
from ddx.services.tracking_server import ServerWatch
from ddx.settings import Settings
from ddx.settings.stores import check_installed
from ddx.wiring import auditing, mlflow_place, tracking_server, vaults
from ddx.wiring.archiving import said_when_archived
from ddx.wiring.deliverers import Held, chores, others
from ddx.wiring.doors import DOOR_TRIES_ONCE, Journals, door
from ddx.wiring.ledger_copying import Copier, copying
from ddx.wiring.reporting import book_once, bookkeeping
from ddx.wiring.tracing import trace_once, tracing, wanted

log = logging.getLogger("ddx")
TEND_EVERY_S = 2.0
CHECKPOINT_EVERY_S = 60.0
STANDBY_LOOK_S = 1.0


def would_deliver(settings: Settings) -> int:
    """Return how many finished predictions wait. Takes no lease and needs no MLflow."""
    state = DeliveryStatusReader(settings.data)
    with closing(Journals(settings)) as journals:
        return sum(1 for _ in waiting(journals(), state))


def deliver(
    settings: Settings,
    *,
    once: bool,
    rebuild: bool = False,
    retry_quarantined: bool = False,
    beside: int | None = None,
    deliverers: int = 1,
) -> dict[str, int]:
    """Deliver until told to stop, or once; return what was done, for people.

    Several processes may deliver until told to stop: each takes its share of the journals.
    `deliverers` is how many this one is to start and keep, itself among them. `beside` is the
    process that started this one, and with which it ends. What has to be alone, `once`, `rebuild`
    and `retry_quarantined`, raises DeliveryInUse where another process delivers; so does the rest
    where one is alone, unless `beside` says to wait. With `once` raises TrackerUnavailable.
    MasterKeyUnavailable and WrongMasterKey come before anything is done.
    """
    stop = threading.Event()
    logs.set_up(settings.log_level)
    if not once:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    vaults.check(settings)
    if beside is not None:
        processes.end_with(beside)
    if rebuild:
        _make_store(settings)
    with (
        closing(Journals(settings)) as journals,
        closing(door(settings, stop, tries=DOOR_TRIES_ONCE if once else None)) as runs,
    ):
        if once or rebuild or retry_quarantined:
            done = _alone(
                settings, journals, runs, once=once, rebuild=rebuild, again=retry_quarantined
            )
            if once:
                return done
        # A request that waits for its answer comes before a record that is safe already.
        yield_to_others()
        with others(settings, deliverers - 1):
            return _with_others(settings, journals, runs, stop, waits=beside is not None)


def _alone(
    settings: Settings,
    journals: Journals,
    runs: Runs,
    *,
    once: bool,
    rebuild: bool,
    again: bool,
) -> dict[str, int]:
    """Do what no other deliverer may see halfway."""
    with closing(SqliteDeliveryState(settings.data)) as state:
        deliverer = _deliverer(settings, journals, runs, state)
        if rebuild:
            deliverer.rebuild()
        if again:
            deliverer.retry_quarantined()
        if not once:
            return {}
        adoption(settings).look()
        progress = deliverer.once()
        book_once(settings)
        if settings.ledger_uri:
            Copier(settings).once()
        traced = {"traced": trace_once(settings)} if wanted(settings) else {}
        return {
            "delivered": progress.acknowledged,
            "quarantined": progress.quarantined,
            "left": sum(1 for _ in waiting(journals(), state)),
            **traced,
        }


def _with_others(
    settings: Settings, journals: Journals, runs: Runs, stop: threading.Event, *, waits: bool
) -> dict[str, int]:
    """Deliver this process's share until told to stop."""

    @contextmanager
    def doing() -> Iterator[None]:
        with (
            closing(Journals(settings)) as all_of_them,
            _tending(settings, all_of_them),
            tracing(settings),
            bookkeeping(settings),
            copying(settings),
        ):
            yield

    tell = _server_watch(settings)
    tell()
    state = _shared_state(settings, stop, waits=waits)
    if state is None:
        return {"left": would_deliver(settings)}
    with closing(state), chores(settings, stop, doing):
        share = state.share
        if share is not None:
            mine = Held(journals, share, state)
            _deliverer(settings, mine, runs, state, back=tell).run(stop)
        return {"left": sum(1 for _ in waiting(journals(), state))}


def _server_watch(settings: Settings) -> Callable[[], None]:
    """Return what says in the log what somebody else's MLflow can do; ours needs no saying."""
    if not settings.tracking_uri:
        return lambda: None
    return ServerWatch(partial(tracking_server.checks, settings, make=True)).tell


def _shared_state(
    settings: Settings, stop: threading.Event, *, waits: bool
) -> SqliteDeliveryState | None:
    """Open it; None where told to stop while another process delivers alone."""
    while not stop.is_set():
        try:
            return SqliteDeliveryState(settings.data, shared=True)
        except DeliveryInUse:
            if not waits:
                raise
            stop.wait(STANDBY_LOOK_S)
    return None


def _deliverer(
    settings: Settings,
    journals: Callable[[], Sequence[JournalReader]],
    runs: Runs,
    state: SqliteDeliveryState,
    back: Callable[[], None] = lambda: None,
) -> Deliverer:
    return Deliverer(
        journals=journals,
        runs=runs,
        state=state,
        clock=SystemClock(),
        luck=luck,
        archived=said_when_archived(settings),
        back=back,
    )


def _make_store(settings: Settings) -> None:
    """Make MLflow's tables where there are none and MLflow does not run to make them: after
    `rm mlflow.db` nothing else is needed.
    """
    running = mlflow_place.missing(settings) is None
    if settings.tracking_uri or settings.delivery == "client" or running:
        return
    from ddx.adapters.mlflow_runs import upgrading

    check_installed(settings.db_uri)
    if settings.db_uri.startswith("sqlite:///"):
        folder = Path(settings.db_uri.removeprefix("sqlite:///")).parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    upgrading.make(settings.db_uri)


def backlog(settings: Settings, journals: Callable[[], Iterable[JournalReader]]) -> Backlog:
    """Return what waits for delivery, seen from the server's process.

    `journals` stay open between two looks: opened anew, they are most of what an idle worker does,
    for each looks at those of all.
    """
    reader = DeliveryStatusReader(settings.data)
    status = reader.status()
    now = SystemClock().now()
    records, size = status.aside, 0
    oldest: list[PredictionId] = [status.oldest_aside] if status.oldest_aside else []
    for journal in journals():
        found = undelivered(journal, status.cursors.get(journal.journal_id, 0))
        records, size = records + found.records, size + found.bytes
        oldest += [found.oldest] if found.oldest else []
    age_s = max((((now - ids.made_at(id)).total_seconds()) for id in oldest), default=0.0)
    alive_s = now.timestamp() - status.alive_ms / 1000 if status.alive_ms else age_s
    return Backlog(
        records=records,
        bytes=size,
        oldest_age_s=max(0.0, age_s),
        quarantined=status.quarantined,
        idle_s=max(0.0, alive_s),
    )


def adoption(settings: Settings) -> Adoption:
    """Return what looks after journals whose server is gone."""
    keys = vaults.vault(settings)

    def last_seq(instance: str) -> int:
        with closing(SqliteJournalReader(settings.data, instance)) as reader:
            return reader.last_seq()

    return Adoption(
        instances=lambda: find_journals(settings.data),
        open_journal=lambda instance: SqliteJournal(settings.data, instance, keys),
        last_seq=last_seq,
    )


@contextmanager
def _tending(settings: Settings, journals: Journals) -> Iterator[None]:
    """Adopt dead servers' journals and sign checkpoints, beside the delivery."""
    stop = threading.Event()
    # One for all, so that a master key is asked for once: its file may be there at start only.
    adopt, keys = adoption(settings), vaults.vault(settings)

    def tend() -> None:
        waited_s = CHECKPOINT_EVERY_S
        while not stop.wait(TEND_EVERY_S):
            waited_s += TEND_EVERY_S
            try:
                closed = adopt.look()
                if closed:
                    log.warning("closed as interrupted", extra={"predictions": closed})
                if waited_s >= CHECKPOINT_EVERY_S:
                    sign_checkpoints(settings, journals(), keys)
                    auditing.sign_checkpoint(settings, keys)
                    waited_s = 0.0
            except (DdxError, OSError) as error:
                log.warning("tending failed", extra={"kind": type(error).__name__})

    thread = threading.Thread(target=tend, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


def sign_checkpoints(
    settings: Settings, journals: Sequence[JournalReader], keys: Vault | None = None
) -> None:
    """Write a signed checkpoint of each journal, in place of the last one."""
    signer = Ed25519Signer(settings.data / "keys", keys or vaults.vault(settings))
    folder = settings.home / settings.checkpoints_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for journal in journals:
        newest = journal.chained(max(0, journal.last_seq() - 1), 1)
        if not newest:
            continue
        checkpoint = Checkpoint(
            journal_id=journal.journal_id,
            instance=journal.instance,
            seq=newest[0].header.seq,
            link=newest[0].link.hex(),
            made_at=SystemClock().now().isoformat(timespec="seconds"),
        )
        draft = folder / f".{journal.instance}.json"
        draft.write_text(signer.sign(checkpoint))
        draft.chmod(0o600)
        draft.replace(folder / f"{journal.instance}.json")
