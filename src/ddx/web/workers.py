"""Several processes of one server: a parent that answers nothing itself, and its workers.

The workers share the port, each with a journal of its own. The parent imports no web framework: it
starts, watches, adopts what a dead one left, and stops.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ddx.adapters import processes, siblings
from ddx.adapters.batch_files import take_over
from ddx.adapters.shared_limits import SharedLimits
from ddx.adapters.sqlite_journal import writer_of
from ddx.adapters.system import SystemClock
from ddx.errors import DdxError, JournalInUse
from ddx.services.up import Child, Spec, Supervisor
from ddx.settings import Settings
from ddx.web.before import check
from ddx.wiring import launch, sharing

log = logging.getLogger("ddx")
_ANSWER_S = 1.0
LOCK_WAIT_S = 3.0


def team_of(settings: Settings) -> list[str]:
    """Return the names of the workers, and so of their journals. The first one has the name that
    a lone server has: its journal goes on.

    >>> from dataclasses import replace
    >>> team_of(replace(Settings(), workers=3))
    ['main', 'main-2', 'main-3']
    """
    later = [f"{settings.instance}-{number}" for number in range(2, settings.workers + 1)]
    return [settings.instance, *later]


def serve_with_workers(settings: Settings, *, with_deliverer: bool) -> None:
    """Keep the workers running until SIGTERM or Ctrl-C; then each ends what is under way.

    Raises what `serve` raises, and ServerNotReady where a worker ends again and again at start.
    """
    check(settings)
    # Not listening, it gets no connection, and nobody else gets the port between two workers.
    reserved = processes.shared_socket(settings.host, settings.port)
    team = team_of(settings)
    _check_journals(settings, team)
    _prepare(settings, team)
    ended_by: list[int] = []
    supervisor = Supervisor(
        [_worker(settings, team, name) for name in team],
        clock=SystemClock(),
        say=log.info,
        at_once=True,
    )

    def stop(number: int, _frame: object) -> None:
        ended_by.append(number)
        supervisor.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with reserved, launch.deliverer_beside(settings, wanted=with_deliverer):
        supervisor.run(lambda: log.info("all workers are ready", extra={"workers": len(team)}))
    if ended_by:
        # As a server without workers ends: whoever sent it sees that it was obeyed.
        signal.signal(ended_by[0], signal.SIG_DFL)
        signal.raise_signal(ended_by[0])


def _check_journals(settings: Settings, team: Sequence[str]) -> None:
    """See that nobody serves this data folder under these names. Raises JournalInUse."""
    give_up_at = time.monotonic() + LOCK_WAIT_S
    for name in team:
        while (writer := writer_of(settings.data, name)) is not None:
            # After a crash the deliverer may be closing what was left in it, for a moment.
            if time.monotonic() > give_up_at:
                raise JournalInUse(f"process {writer[0]} writes the journal {name!r}")
            time.sleep(0.1)


def _prepare(settings: Settings, team: Sequence[str]) -> None:
    """Make the folders, for their owner alone; forget what the last workers counted."""
    os.umask(0o077)
    run = settings.data / siblings.FOLDER
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    run.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(_counts(settings), ignore_errors=True)
    _counts(settings).mkdir(mode=0o700)
    (run / siblings.DEATHS).write_bytes(b"")
    SharedLimits(settings.data, settings.instance).forget_all()
    for name in _gone(settings, team):
        # Its journal needs no heir: the deliverer closes it. Its waiting batches do.
        take_over(settings.data, name, settings.instance)


def _gone(settings: Settings, team: Sequence[str]) -> list[str]:
    """Return the instances of workers that there are no more."""
    folder = settings.data / "batches"
    named = [path.name for path in folder.glob(f"{settings.instance}-*")] if folder.exists() else []
    return [
        name
        for name in named
        if name.removeprefix(f"{settings.instance}-").isdecimal()
        and name not in team
        and writer_of(settings.data, name) is None
    ]


def _worker(settings: Settings, team: Sequence[str], name: str) -> Spec:
    return Spec(
        name=f"worker {name}",
        start=partial(_start, settings, team, name),
        waits_for=partial(_not_ready, settings, name),
        buried=partial(_buried, settings, name),
        stop_within_s=settings.shutdown_grace_s + 10,
    )


def _start(settings: Settings, team: Sequence[str], name: str) -> Child:
    words = ("serve", "--no-deliverer", "--team", ",".join(team), "--beside", str(os.getpid()))
    return processes.Process(
        launch.ddx(*words),
        environment={
            **launch.environment(settings),
            "DDX_INSTANCE": name,
            # Where prometheus_client keeps what a process counts, for all to add up.
            "PROMETHEUS_MULTIPROC_DIR": str(_counts(settings)),
        },
        folder=settings.home,
        log=None,
        ends_by_itself=True,
    )


def _not_ready(settings: Settings, name: str) -> str | None:
    try:
        answer = siblings.ask_now(settings.data, name, {"ask": "ready"}, _ANSWER_S)
    except siblings.SiblingAway:
        return "it does not answer yet"
    return None if answer.get("ready") else "it is not ready"


def _buried(settings: Settings, name: str, pid: int) -> None:
    """Close what a dead worker left, so that its trackers are free for a new try."""
    for gauge in _counts(settings).glob(f"gauge_live*_{pid}.db"):
        gauge.unlink(missing_ok=True)
    deaths = settings.data / siblings.FOLDER / siblings.DEATHS
    with suppress(OSError), deaths.open("ab") as file:
        file.write(b".")
    SharedLimits(settings.data, name).forget()
    with suppress(JournalInUse):  # the deliverer is at it
        try:
            closed = sharing.adopt(settings, name)
        except (DdxError, OSError) as error:
            if isinstance(error, JournalInUse):
                raise
            log.warning("not adopted", extra={"kind": type(error).__name__, "instance": name})
        else:
            log.warning("adopted", extra={"instance": name, "predictions": closed})


def _counts(settings: Settings) -> Path:
    return settings.data / siblings.FOLDER / "counts"
