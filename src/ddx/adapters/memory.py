"""Doubles that forget when the process ends, for tests and benchmarks. They pass the same
contract tests as the real adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from threading import Lock

from ddx.core.chain import ChainedEvent, Header, Kind, genesis, link
from ddx.core.codec import decode, encode
from ddx.core.feedback import Feedback
from ddx.core.record import Answered, Completion, Declined, Prediction, PredictionId
from ddx.errors import (
    AlreadyFinished,
    ClaimsUnavailable,
    JournalUnavailable,
    PredictionNotFound,
)
from ddx.ports import Claim, Event, Held, Holder, Kept, Standing


class MemoryJournal:
    """A Journal, and a JournalReader, in this process's memory."""

    def __init__(self, instance: str = "memory") -> None:
        self.instance = instance
        self.journal_id = instance
        self.trouble: JournalUnavailable | None = None
        """Set it to make every write fail."""
        self._accepted: dict[PredictionId, str] = {}
        self._finished: dict[PredictionId, str] = {}
        self._said: dict[PredictionId, list[tuple[int, str]]] = {}
        self._claims: dict[tuple[str, str], tuple[bytes, PredictionId]] = {}
        self._events: list[Event] = []
        self._lock = Lock()

    def accept(self, prediction: Prediction, claim: Claim | None) -> Future[Kept | Held]:
        """Keep a prediction; see ports.Journal."""
        answer: Future[Kept | Held] = Future()
        with self._lock:
            if self.trouble:
                answer.set_exception(self.trouble)
                return answer
            held = self._holder(claim) if claim else None
            if claim and held and held.by != claim.replaces:
                answer.set_result(held)
                return answer
            if claim:
                self._claims[claim.scope, claim.tracker] = (claim.body, prediction.id)
            self._accepted[prediction.id] = encode(replace(prediction, completion=None))
            self._log(Kind.ACCEPTED, prediction.id)
            if prediction.completion is not None:
                self._finished[prediction.id] = encode(prediction.completion)
                self._log(Kind.FINISHED, prediction.id)
            answer.set_result(Kept(seq=len(self._events)))
        return answer

    def finish(self, prediction: Prediction) -> Future[Kept]:
        """Keep the completion; see ports.Journal."""
        answer: Future[Kept] = Future()
        if prediction.completion is None:
            raise ValueError(f"{prediction.id} has no completion")
        with self._lock:
            if self.trouble:
                answer.set_exception(self.trouble)
            elif prediction.id in self._finished or prediction.id not in self._accepted:
                answer.set_exception(AlreadyFinished(prediction.id))
            else:
                self._finished[prediction.id] = encode(prediction.completion)
                self._log(Kind.FINISHED, prediction.id)
                answer.set_result(Kept(seq=len(self._events)))
        return answer

    def add_feedback(self, id: PredictionId, feedback: Feedback) -> Future[Kept]:
        """Keep what somebody said; see ports.Journal."""
        answer: Future[Kept] = Future()
        with self._lock:
            if self.trouble:
                answer.set_exception(self.trouble)
            elif id not in self._finished:
                answer.set_exception(PredictionNotFound())
            else:
                self._log(Kind.FEEDBACK, id)
                self._said.setdefault(id, []).append((len(self._events), encode(feedback)))
                answer.set_result(Kept(seq=len(self._events)))
        return answer

    def add_erasure(self, id: PredictionId) -> Future[Kept]:
        """Keep that a prediction is erased; see ports.Journal."""
        answer: Future[Kept] = Future()
        with self._lock:
            if self.trouble:
                answer.set_exception(self.trouble)
            else:
                self._log(Kind.ERASED, id)
                answer.set_result(Kept(seq=len(self._events)))
        return answer

    def feedback_of(self, id: PredictionId) -> Sequence[Feedback]:
        """Return what was said of a prediction, in order."""
        return [decode(line, Feedback) for _, line in self._said.get(id, ())]

    @property
    def fault(self) -> str | None:
        """Code of the trouble that is set."""
        return self.trouble.code if self.trouble else None

    @property
    def synced_at(self) -> None:
        """Nothing here is on stable storage, ever."""

    def probe(self) -> Future[None]:
        """Do nothing, or fail where trouble is set."""
        answer: Future[None] = Future()
        if self.trouble:
            answer.set_exception(self.trouble)
        else:
            answer.set_result(None)
        return answer

    def find(self, id: PredictionId) -> Prediction | None:
        """Return the record as it stands."""
        if id not in self._accepted:
            return None
        prediction = decode(self._accepted[id], Prediction)
        if id not in self._finished:
            return prediction
        return prediction.completed(decode(self._finished[id], Completion))

    def newest(
        self, before: PredictionId | None, since: PredictionId | None, limit: int
    ) -> Sequence[PredictionId]:
        """Return ids, the newest first; see ports.Journal."""
        found = (id for id in self._accepted if (before is None or id < before))
        return sorted((id for id in found if id >= (since or "")), reverse=True)[:limit]

    def holder(self, claim: Claim) -> Held | None:
        """Return who holds the tracker now."""
        with self._lock:
            return self._holder(claim)

    def unfinished(self) -> Sequence[PredictionId]:
        """Return what was accepted and has no outcome, in order of acceptance."""
        return [id for id in self._accepted if id not in self._finished]

    def events(self, after: int, limit: int) -> Sequence[Event]:
        """Return up to `limit` events with a sequence above `after`, in order."""
        return self._events[after : after + limit]

    def predictions(self, ids: Sequence[PredictionId]) -> Sequence[Prediction]:
        """Return these records as they stand, in this order."""
        return [found for id in ids if (found := self.find(id)) is not None]

    def chained(self, after: int, limit: int) -> Sequence[ChainedEvent]:
        """Return up to `limit` events with their links. Nothing is encrypted here."""
        previous, found = genesis(self.journal_id), []
        for event in self._events:
            header = Header(
                journal_id=self.journal_id,
                seq=event.seq,
                kind=event.kind,
                prediction_id=event.prediction_id,
                key_id=0,
                written_at_us=0,
                nonce=b"",
            )
            payload = self._text(event).encode()
            previous = link(previous, header.encode(), payload)
            found.append(ChainedEvent(header=header, ciphertext=payload, link=previous))
        return found[after : after + limit]

    def last_seq(self) -> int:
        """Return the sequence of the newest event, 0 where there is none."""
        return len(self._events)

    def backlog(self, after: int) -> tuple[int, int]:
        """Return (events, payload bytes) above a sequence."""
        waiting = max(0, len(self._events) - after)
        return waiting, waiting * 10_000

    def close(self) -> None:
        """Nothing to let go of."""

    def _holder(self, claim: Claim) -> Held | None:
        held = self._claims.get((claim.scope, claim.tracker))
        return Held(by=held[1], same_body=held[0] == claim.body) if held else None

    def _text(self, event: Event) -> str:
        if event.kind is Kind.FEEDBACK:
            return dict(self._said[event.prediction_id])[event.seq]
        texts = self._accepted if event.kind is Kind.ACCEPTED else self._finished
        return texts[event.prediction_id]

    def _log(self, kind: Kind, id: PredictionId) -> None:
        self._events.append(Event(seq=len(self._events) + 1, kind=kind, prediction_id=id))


class MemoryClaims:
    """Claims in this process's memory: each of `shared` is one more process of the deployment.

    With `keeps_replies` as of several machines, where answers are kept with their claims.
    """

    def __init__(
        self,
        holder: Holder,
        shared: dict[tuple[str, str], tuple[bytes, Held]],
        *,
        keeps_replies: bool = False,
    ) -> None:
        self.holder = holder
        self.trouble: ClaimsUnavailable | None = None
        """Set it to make everything fail."""
        self._held = shared
        self._keeps = keeps_replies

    def take(self, claim: Claim, prediction: Prediction) -> Future[Held | None]:
        """Take a tracker; see ports.Claims."""
        answer = self.look(claim)
        if answer.exception() is not None:
            return answer
        held = answer.result()
        if held is not None and held.by != claim.replaces:
            return answer
        body, _ = self._held.get((claim.scope, claim.tracker), (claim.body, None))
        new = Held(
            by=prediction.id,
            same_body=True,
            holder=self.holder,
            retry_of=prediction.retry_of,
            standing=Standing.RUNNING if self._keeps else Standing.UNKNOWN,
        )
        self._held[claim.scope, claim.tracker] = (body, new)
        taken: Future[Held | None] = Future()
        taken.set_result(None)
        return taken

    def look(self, claim: Claim) -> Future[Held | None]:
        """Return who holds a tracker; see ports.Claims."""
        answer: Future[Held | None] = Future()
        if self.trouble:
            answer.set_exception(self.trouble)
            return answer
        found = self._held.get((claim.scope, claim.tracker))
        answer.set_result(replace(found[1], same_body=found[0] == claim.body) if found else None)
        return answer

    def release(self, id: PredictionId) -> None:
        """Give it up; see ports.Claims."""
        for name, (body, held) in list(self._held.items()):
            if held.by != id or held.holder != self.holder:
                continue
            if held.retry_of is None:
                del self._held[name]
            else:
                standing = Standing.ENDED if self._keeps else Standing.UNKNOWN
                nobody = replace(self.holder, life="given back")
                back = replace(
                    held, by=held.retry_of, retry_of=None, standing=standing, holder=nobody
                )
                self._held[name] = (body, back)

    def finish(self, prediction: Prediction) -> Future[None]:
        """Keep how it ended; see ports.Claims."""
        done: Future[None] = Future()
        if self._keeps:
            answered = isinstance(prediction.outcome, Answered | Declined)
            self._stands(
                prediction.id,
                Standing.ANSWERED if answered else Standing.ENDED,
                prediction.completion if answered else None,
            )
        done.set_result(None)
        return done

    def settle(
        self,
        alive: Callable[[Holder], bool],
        find: Callable[[PredictionId], Prediction | None],
    ) -> int:
        """Say of dead processes' claims how they stand; see ports.Claims."""
        dead = [
            held
            for _, held in self._held.values()
            if held.standing is Standing.RUNNING
            and held.holder is not None
            and held.holder.node == self.holder.node
            and held.holder != self.holder
            and not alive(held.holder)
        ]
        for held in dead:
            found = find(held.by)
            if found is not None:
                self.finish(found)
            elif held.holder is not None:
                MemoryClaims(held.holder, self._held, keeps_replies=True).release(held.by)
        return len(dead)

    def forget(self, id: PredictionId) -> None:
        """Destroy what is kept of an answer; see ports.Claims."""
        self._stands(id, Standing.ERASED, None)

    def close(self) -> None:
        """Nothing to let go of."""

    def _stands(self, id: PredictionId, standing: Standing, reply: Completion | None) -> None:
        for name, (body, held) in self._held.items():
            if held.by == id and (standing is Standing.ERASED or held.standing is Standing.RUNNING):
                self._held[name] = (body, replace(held, standing=standing, reply=reply))
