"""What the HTTP edge needs of the running server, in one value."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from typing import Any

from ddx.adapters import siblings
from ddx.adapters.sqlite_journal import writer_of
from ddx.core.access import Act, Look
from ddx.core.callers import Caller, tenant_of
from ddx.core.codec import decode, encode
from ddx.core.feedback import Feedback
from ddx.core.record import Prediction, PredictionId
from ddx.errors import (
    ClaimsUnavailable,
    DdxError,
    Erased,
    JournalInUse,
    JournalUnavailable,
    PredictionNotFound,
)
from ddx.ports import Check, Claims, Engine, Journal
from ddx.services.admission import Admission
from ddx.services.batch import Batches
from ddx.services.callers import Callers
from ddx.services.feedback import give
from ddx.services.lookup import Page, Wanted, page
from ddx.services.predict import Predictor
from ddx.services.records import Records
from ddx.services.recover import close_unfinished
from ddx.settings import Settings
from ddx.web.background import Background
from ddx.wiring import auditing, backup_ages, dashboard, serving, sharing
from ddx.wiring.callers import callers
from ddx.wiring.doors import Journals
from ddx.wiring.vaults import vault

log = logging.getLogger("ddx")
LOCK_WAIT_S = 3.0
LAST_WORDS_S = 3.0
"""For the outcomes of what was cut off, after its time to finish."""
_TEAM_WAIT_S = 0.5
_LOADING_S = 30.0
"""The longest that an end waits for engines that are still being loaded."""


class Server:
    """The services of one server process, opened by `start` and closed by `stop`."""

    predictor: Predictor
    batches: Batches
    admission: Admission
    callers: Callers

    def __init__(
        self,
        settings: Settings,
        team: Sequence[str] = (),
        *,
        knowledge: Engine | None = None,
        in_company: bool = False,
    ) -> None:
        """`team` names the workers that share the port, this one among them; none where it is
        alone. What is limited is shared out among them.

        `knowledge` is asked instead of a knowledge engine of this process's own. `in_company`:
        other processes of this data folder let the same callers in, though no team is known.
        """
        self.settings = sharing.shared_out(settings, len(team)) if team else settings
        self.team = tuple(team)
        self._remote_knowledge, self._in_company = knowledge, in_company
        self._journal: Journal | None = None
        self._claims: Claims | None = None
        self._life = sharing.new_life()
        self._ready_workers = 0
        self._team_was_ready = not team
        self._loading: threading.Thread | None = None
        self._warm = threading.Event()
        self._trail = auditing.trail(settings)
        self._warm_fault: str | None = None
        self.on_finished: Callable[[Prediction], None] = lambda done: None  # noqa: ARG005
        self._stopped = threading.Event()
        self.background = Background()

    def start(self) -> None:
        """Open the journal, close what an earlier process left, load engines behind.

        Does nothing where it was started already. Raises JournalInUse, JournalUnavailable,
        JournalDamaged.
        """
        if self._journal is not None:
            return
        self._journal = self._open_journal()
        self._journals = Journals(self.settings)
        self.records = Records(
            self._journal, self._journals if self.settings.journal == "sqlite" else lambda: ()
        )
        self.siblings = sharing.Siblings(self.settings.data, self.records, vault(self.settings))
        self._claims = sharing.claims(self.settings, self.settings.instance, self._life)
        engines = serving.Engines(self.settings, self._remote_knowledge)
        self.predictor = serving.predictor(
            self.settings,
            self._journal,
            engines,
            admit=lambda: self.admission.check(),  # noqa: PLW0108  (made below)
            on_finished=lambda done: self.on_finished(done),  # noqa: PLW0108  (set by the edge)
            claims=self._claims,
            elsewhere=sharing.elsewhere(self.siblings, self._claims) if self._claims else None,
        )
        self.admission = serving.admission(self.settings, self._journals)
        self.callers = callers(self.settings, shared=bool(self.team) or self._in_company)
        self.batches = serving.batches(
            self.settings, self.predictor, self.background.start, self.admission.check
        )
        closed = close_unfinished(self._journal)
        if closed:
            log.warning("closed as interrupted", extra={"predictions": closed})
        self.settle_claims()
        self.admission.refresh()
        self._loading = threading.Thread(target=self._load, args=(engines,), daemon=True)
        self._loading.start()
        threading.Thread(target=engines.follow, args=(self._stopped,), daemon=True).start()

    def settle_claims(self) -> None:
        """Say how the trackers of this data folder's dead processes stand. Blocks."""
        claims = self._claims
        if claims is not None:
            with suppress(ClaimsUnavailable):
                claims.settle(self.siblings.alive, self.records.find)

    def stop(self) -> None:
        """Write what is waiting and let go of the files."""
        self._stopped.set()
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            self._journals.close()
        if self._claims is not None:
            self._claims.close()
            self._claims = None
        if self._loading is not None:
            # Native code that is loading when the interpreter ends would abort the process.
            self._loading.join(_LOADING_S)
            self._loading = None

    async def resume(self) -> None:
        """Go on with the batches that an earlier process left. To come after `start`."""
        await self.batches.resume()

    async def settle(self) -> None:
        """Let what is under way have its time to finish, then end it. To come before `stop`."""
        self.batches.stop()
        await self.background.settle(self.settings.shutdown_grace_s)
        self.predictor.interrupt()
        await self.background.settle(LAST_WORDS_S)

    def refresh(self) -> None:
        """Look at disk and backlog, and try a journal that failed. Blocks: for a thread."""
        self.admission.refresh()
        if self._journal is not None and self._journal.fault is not None:
            with suppress(DdxError):
                self._journal.probe().result()
        if self.team:
            self._look_at_team()

    def _look_at_team(self) -> None:
        ready = 0
        for name in self.team:
            if name == self.settings.instance:
                ready += self.own_ready()
                continue
            with suppress(siblings.SiblingAway):
                answer = siblings.ask_now(self.settings.data, name, {"ask": "ready"}, _TEAM_WAIT_S)
                ready += bool(answer.get("ready"))
        self._ready_workers = ready
        self._team_was_ready = self._team_was_ready or ready == len(self.team)

    def own_ready(self) -> bool:
        """Whether this process would take a request now, whatever its siblings do."""
        return all(check.ok for check in self._own_checks())

    def team_pids(self) -> list[int]:
        """Return the processes of this server, the parent first."""
        writers = [writer_of(self.settings.data, name) for name in self.team]
        return [os.getppid(), *(found[0] for found in writers if found is not None)]

    def listening(self) -> AbstractAsyncContextManager[None]:
        """Answer the other processes of the data folder as long as the context lasts."""
        if self.settings.journal == "memory":
            return nullcontext()
        return siblings.listening(self.settings.data, self.settings.instance, self._answer_sibling)

    async def _answer_sibling(self, question: siblings.Question) -> dict[str, Any]:
        match question.get("ask"):
            case "ready":
                return {"ready": self.own_ready()}
            case "until_ended":
                await self.predictor.until_ended(PredictionId(question["id"]))
                return {}
            case "feedback":
                id, said = PredictionId(question["id"]), decode(question["said"], Feedback)
                try:
                    return {"said": [encode(one) for one in await give(self._open(), id, said)]}
                except DdxError as error:
                    return {"error": error.code}
            case _:
                return {"error": "unknown"}

    def find(self, id: PredictionId) -> Prediction | None:
        """Return a record of any journal of the data folder. Blocks: not for the event loop."""
        return self.records.find(id) if self._journal else None

    def seen(self, id: PredictionId, caller: Caller) -> Prediction:
        """Return a record that a caller may see. Blocks: not for the event loop.

        Raises PredictionNotFound, and to whom sees all, Erased.
        """
        with hidden(caller):
            found = self.find(id)
        if found is None or not caller.sees(found.caller):
            raise PredictionNotFound
        return found

    async def note(self, caller: Caller, act: Act, *shown: Prediction, about: str = "") -> None:
        """Keep that a caller looks at something, before it is shown. Raises
        AccessTrailUnavailable.
        """
        owners = {tenant_of(one.caller) for one in shown} or {caller.tenant}
        look = Look(
            at=auditing.now(),
            caller=caller.id,
            act=act,
            ids=tuple(one.id for one in shown),
            tenant=owners.pop() if len(owners) == 1 else None,
            about=about,
        )
        await asyncio.to_thread(self._trail.add, look)

    def feedback_of(self, id: PredictionId) -> Sequence[Feedback]:
        """Return what was said of a prediction. Blocks: not for the event loop."""
        self._open()
        return self.records.feedback_of(id)

    async def give_feedback(self, id: PredictionId, feedback: Feedback) -> Sequence[Feedback]:
        """Keep what somebody says of a prediction, in its journal; see services.feedback."""
        own = self._open()
        holder = await asyncio.to_thread(self.records.holder, id)
        if holder is None:
            return await give(own, id, feedback)
        return await self.siblings.give_feedback(holder.instance, id, feedback)

    def page(self, wanted: Wanted, limit: int) -> Page:
        """Return some records of the data folder. Blocks: not for the event loop."""
        self._open()
        return page(self.records, wanted, limit)

    def checks(self) -> list[Check]:
        """Return what /readyz shows."""
        return [*self._own_checks(), *self._team_checks()]

    def _team_checks(self) -> list[Check]:
        if not self.team:
            return []
        # Once all were there, one that is started again is no reason to send nobody here.
        workers = Check(
            name="workers",
            ok=self._team_was_ready,
            found=f"{self._ready_workers} of {len(self.team)} ready",
            advice="Wait some seconds; where it stays, the log says why.",
        )
        return [workers]

    def _own_checks(self) -> list[Check]:
        engine = Check(
            name="engine",
            ok=self._warm.is_set() and self._warm_fault is None,
            found=self._warm_fault or ("loaded" if self._warm.is_set() else "loading"),
            advice="Wait some seconds; where it stays, the log says why.",
        )
        fault = self._journal.fault if self._journal else "closed"
        journal = Check(
            name="journal",
            ok=fault is None,
            found=fault or "writable",
            advice="Free some space or mend the disk: it is tried again by itself.",
        )
        return [engine, journal, *self.admission.checks()]

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Return the gauges of /metrics: name -> (description, value)."""
        backlog, limits = self.admission.backlog, self.admission.limits
        synced_at = self._journal.synced_at if self._journal else None
        return {
            "ddx_journal_last_sync_timestamp_seconds": (
                "When the journal's last write reached stable storage, since 1970; 0 before it.",
                synced_at or 0.0,
            ),
            "ddx_running_predictions": ("Predictions under way.", self.predictor.running),
            "ddx_running_predictions_limit": (
                "Predictions under way at which more are refused.",
                self.settings.max_running,
            ),
            "ddx_batch_waiting_cases": (
                "Cases of batches that have not ended.",
                self.batches.waiting,
            ),
            "ddx_backlog_records": ("Finished records not yet in MLflow.", backlog.records),
            "ddx_backlog_bytes": ("Journal bytes not yet in MLflow.", backlog.bytes),
            "ddx_backlog_oldest_seconds": (
                "Age of the oldest record not yet in MLflow.",
                backlog.oldest_age_s,
            ),
            "ddx_backlog_limit_bytes": (
                "Backlog above which requests are refused.",
                limits.backlog_bytes,
            ),
            "ddx_backlog_limit_seconds": (
                "Age of the oldest record above which requests are refused.",
                limits.backlog_age_s,
            ),
            "ddx_delivery_idle_seconds": (
                "Since the deliverer made progress or found nothing to do.",
                backlog.idle_s,
            ),
            "ddx_quarantined_records": (
                "Records that MLflow refused for good.",
                backlog.quarantined,
            ),
            **backup_ages.gauges(self.settings),
            "ddx_disk_free_bytes": ("Room on the journal's disk.", self.admission.free_bytes),
            "ddx_disk_reserve_bytes": (
                "Room on the journal's disk below which requests are refused.",
                limits.disk_reserve_bytes,
            ),
        }

    def _open(self) -> Journal:
        if self._journal is None:
            raise JournalUnavailable("the journal is closed")
        return self._journal

    def _open_journal(self) -> Journal:
        """Open the journal. After a crash the deliverer may be closing what was left in it,
        which takes a moment; a second server holds it for longer.
        """
        give_up_at = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                return serving.journal(self.settings, self._life)
            except JournalInUse:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.1)

    def _load(self, engines: serving.Engines) -> None:
        try:
            engines.warm()
        except DdxError as error:
            self._warm_fault = str(error)
        except Exception as error:
            self._warm_fault = type(error).__name__
            log.exception("engine did not load")
        self._warm.set()
        dashboard.warm(self.settings)


@contextmanager
def hidden(caller: Caller) -> Iterator[None]:
    """Say of an erased record that there is none, where its owner is no longer known: whether it
    was another tenant's must not be told.
    """
    try:
        yield
    except Erased:
        if caller.tenant is None:
            raise
        raise PredictionNotFound from None
