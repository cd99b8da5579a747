"""One request from its acceptance to its kept outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from ddx.core import ids
from ddx.core.codec import encode_request
from ddx.core.masking import Mask, masked_request
from ddx.core.record import (
    INTERRUPTION,
    Answered,
    Completion,
    Declined,
    EngineAnswer,
    Failed,
    Interrupted,
    LlmSettings,
    Prediction,
    PredictionId,
    Request,
)
from ddx.core.registry import EngineKind, Model, PromptConfig
from ddx.core.response import reply
from ddx.errors import (
    AlreadyFinished,
    DdxError,
    ModelNotConfigured,
    Overloaded,
    TrackerReused,
    TrackerUnsettled,
    UnknownModel,
    UnknownPrompt,
)
from ddx.ports import Claim, Claims, Clock, Engine, Held, Journal, Kept
from ddx.services.predict.asking import Asking
from ddx.services.predict.elsewhere import Elsewhere, Found
from ddx.services.predict.handover import Handover
from ddx.services.predict.watching import Watcher

log = logging.getLogger("ddx")
Moment = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """What a request can name, and whether it can answer now."""

    models: Mapping[str, Model]
    prompts: Mapping[int, PromptConfig]
    has_key: Callable[[Model], bool]
    bench_models: bool = False

    def refusal(self, request: Request) -> DdxError | None:
        """Why this request cannot be asked, or None."""
        model = self.models.get(request.model_name)
        if model is None:
            return UnknownModel("There is no model of this name.")
        if model.engine is EngineKind.INSTANT and not self.bench_models:
            return UnknownModel("The model `instant` is for benchmarks: set bench_models = true.")
        index = request.prompt_version
        if index is not None and index not in self.prompts:
            return UnknownPrompt(f"There is no prompt configuration {index}.")
        if not self.has_key(model):
            return ModelNotConfigured(f"{model.name} needs an API key {model.key_places}.")
        return None


class Predictor:
    """Takes requests. Belongs to one event loop."""

    def __init__(
        self,
        *,
        journal: Journal,
        registry: Registry,
        engine_of: Callable[[Model], Engine],
        clock: Clock,
        luck: Callable[[int], bytes],
        version: str,
        admit: Callable[[], None] = lambda: None,
        on_finished: Callable[[Prediction], None] = lambda done: None,  # noqa: ARG005
        mask: Mask | None = None,
        max_running: int = 256,
        claims: Claims | None = None,
        elsewhere: Elsewhere | None = None,
        at: Moment = lambda name: None,  # noqa: ARG005
    ) -> None:
        """`mask` takes what identifies a person out of a case, before anything else sees it.

        Without `claims` the journal keeps the claims of its trackers; with them, `elsewhere`
        follows what other processes hold.
        """
        self._journal = journal
        self._claims = claims
        self._elsewhere = elsewhere
        self._mask = mask
        self._registry = registry
        self._asking = Asking(engine_of)
        self._clock = clock
        self._luck = luck
        self._version = version
        self._admit = admit
        self._on_finished = on_finished
        self._max_running = max_running
        self._at = at
        self._running: dict[PredictionId, asyncio.Future[Prediction]] = {}
        self._left: dict[PredictionId, Prediction] = {}
        self._written = Handover()

    async def until_ended(self, id: PredictionId) -> None:
        """Return when a prediction is not under way here. For other processes."""
        if id in self._running:
            with suppress(Exception):
                await asyncio.shield(self._running[id])

    @property
    def running(self) -> int:
        """How many predictions are under way."""
        return len(self._running)

    def interrupt(self) -> None:
        """End what engines are still asked: the server stops and cannot wait for them.

        Their predictions are kept as interrupted, and their callers told so.
        """
        self._asking.interrupt()

    async def predict(
        self,
        request: Request,
        caller: str,
        watcher: Watcher | None = None,
        replay_of: PredictionId | None = None,
    ) -> Prediction:
        """Return the finished prediction; its completion holds status and body.

        With a tracker that was used before for the same body, that is the earlier one, which
        is waited for where it is still running; a failed one is tried again as a new record.
        Raises JournalUnavailable or Overloaded before any engine is asked, TrackerReused,
        TrackerUnsettled, Erased, and JournalUnavailable where the outcome could not be kept.
        `watcher` is told what is known before that.
        """
        started_s = self._clock.monotonic()
        if len(self._running) >= self._max_running:
            raise Overloaded(f"{self._max_running} predictions are under way.")
        self._admit()
        original, masked = request, None
        if self._mask is not None:
            # In a thread: a long text takes long. What it raises ends the request: no case goes
            # on as it came.
            request, masked = await asyncio.to_thread(masked_request, original, self._mask)
        retry_of: PredictionId | None = None
        replaces: PredictionId | None = None
        while True:
            prediction = replace(
                self._new(request, caller, retry_of),
                replay_of=replay_of,
                masked=None if masked is None else dict(masked),
            )
            # The tracker stands for the body as it came, which only its keyed hash is kept of.
            claim = _claim(prediction, original, replaces)
            held = await self._accept(prediction, claim, started_s, watcher)
            if not isinstance(held, Held):
                return held
            if not held.same_body:
                raise TrackerReused
            earlier = await self._earlier(held, claim, watcher)
            if earlier.answer is not None:
                return earlier.answer
            if earlier.reply is not None:
                return replace(prediction, id=held.by, retry_of=held.retry_of).completed(
                    earlier.reply
                )
            replaces, retry_of = held.by, earlier.retry_of

    # --- the steps ----------------------------------------------------------------------

    def _new(self, request: Request, caller: str, retry_of: PredictionId | None) -> Prediction:
        now = self._clock.now()
        return Prediction(
            id=ids.prediction_id(now, self._luck(10)),
            received_at=now,
            request=request,
            caller=caller,
            instance=self._journal.instance,
            version=self._version,
            salt=self._luck(16).hex(),
            retry_of=retry_of,
        )

    async def _accept(
        self,
        prediction: Prediction,
        claim: Claim | None,
        started_s: float,
        watcher: Watcher | None,
    ) -> Prediction | Held:
        """Keep and answer a prediction, or say who holds its tracker."""
        refusal = self._registry.refusal(prediction.request)
        if refusal is not None:
            answer = EngineAnswer(
                outcome=Failed(code=refusal.code, message=str(refusal), advice=refusal.advice),
                settings=LlmSettings(prompt_index=prediction.request.prompt_version),
            )
            prediction = self._complete(prediction, answer, started_s)
        # Others who meet our tracker in the journal must find us here, so we are here first.
        waited_for: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._running[prediction.id] = waited_for
        try:
            kept = await self._take(prediction, claim)
            if isinstance(kept, Held):
                return kept
            self._at("accepted")
            if prediction.completion is None:
                prediction = await self._answer(prediction, started_s, watcher)
            if self._claims is not None and claim is not None:
                await self._tell_claims(self._claims, prediction)
        except BaseException as error:
            if isinstance(error, Exception):
                waited_for.set_exception(error)
                waited_for.exception()  # nobody may be waiting: that is no fault to report
            else:
                waited_for.cancel()
            raise
        finally:
            del self._running[prediction.id]
        waited_for.set_result(prediction)
        self._on_finished(prediction)
        _log(prediction)
        return prediction

    async def _take(self, prediction: Prediction, claim: Claim | None) -> Kept | Held:
        """Keep the claim, where others share it, then the prediction."""
        if self._claims is None or claim is None:
            return await self._written(self._journal.accept(prediction, claim))
        try:
            held = await self._written(self._claims.take(claim, prediction))
            if held is not None:
                return held
            self._at("claimed")
            return await self._written(self._journal.accept(prediction, None))
        except Exception:
            # No journal has it: the next one with this tracker need not wait for it.
            self._claims.release(prediction.id)
            raise

    async def _tell_claims(self, claims: Claims, prediction: Prediction) -> None:
        try:
            await self._written(claims.finish(prediction))
        except DdxError as error:
            # The record is kept and the claims are told later: no reason to refuse the answer.
            log.warning("claim not told", extra={"event": "claim_not_told", "code": error.code})

    async def _answer(
        self, prediction: Prediction, started_s: float, watcher: Watcher | None
    ) -> Prediction:
        """Ask the engine and keep the outcome."""
        model = self._registry.models[prediction.request.model_name]
        if watcher is not None:
            watcher.accepted(prediction.id)
        told = watcher.diagnosed if watcher is not None else None
        try:
            answer = await self._asking.ask(model, prediction.request, told)
        except asyncio.CancelledError:
            # The server is stopping and cannot wait for the model. Closing the journal writes
            # what is waiting, so this is kept without waiting for it here.
            self._journal.finish(prediction.completed(INTERRUPTION))
            raise
        self._at("answered")
        if told is not None and isinstance(answer.outcome, Answered):
            for rank, diagnosis in enumerate(answer.outcome.diagnoses, start=1):
                told(rank, diagnosis)
        left, prediction = prediction, self._complete(prediction, answer, started_s)
        try:
            await self._written(self._journal.finish(prediction))
        except DdxError:
            self._left[left.id] = left
            raise
        self._at("kept")
        return prediction

    async def close_left(self) -> None:
        """Close as interrupted what was accepted and whose outcome could not be kept, for whoever
        asks with its tracker, here or elsewhere. To be called again and again.
        """
        for id, prediction in list(self._left.items()):
            with suppress(AlreadyFinished):
                await self._close(prediction)
            self._left.pop(id, None)

    async def _close(self, prediction: Prediction) -> None:
        closed = prediction.completed(INTERRUPTION)
        await self._written(self._journal.finish(closed))
        if self._claims is not None and prediction.request.tracker is not None:
            await self._tell_claims(self._claims, closed)

    def _complete(
        self, prediction: Prediction, answer: EngineAnswer, started_s: float
    ) -> Prediction:
        status, body = reply(prediction, answer)
        interrupted = isinstance(answer.outcome, Interrupted)
        return prediction.completed(
            Completion(
                duration_s=None if interrupted else self._clock.monotonic() - started_s,
                answer=answer,
                status=status,
                body=body,
            )
        )

    async def _earlier(self, held: Held, claim: Claim | None, watcher: Watcher | None) -> Found:
        """Return what became of the prediction that holds our tracker."""
        id = held.by
        if id in self._running:
            if watcher is not None:
                watcher.accepted(id)
            return Found(answer=await asyncio.shield(self._running[id]))
        record = await asyncio.to_thread(self._journal.find, id)
        if record is None and self._claims is not None and held.holder != self._claims.holder:
            return await self._followed(self._claims, held, claim)
        if record is not None and record.completion is None:
            # Accepted, but its outcome could not be kept: nobody was told one.
            try:
                await self._close(record)
            except AlreadyFinished:
                record = await asyncio.to_thread(self._journal.find, id)
        if record is None:
            return Found(retry_of=held.retry_of if self._claims is not None else id)
        answered = isinstance(record.outcome, Answered | Declined)
        return Found(answer=record) if answered else Found(retry_of=id)

    async def _followed(self, claims: Claims, held: Held, claim: Claim | None) -> Found:
        """Another process holds our tracker."""
        if self._elsewhere is None or claim is None:
            raise TrackerUnsettled
        return await self._elsewhere.outcome(held, lambda: self._written(claims.look(claim)))


def _claim(prediction: Prediction, request: Request, replaces: PredictionId | None) -> Claim | None:
    if request.tracker is None:
        return None
    return Claim(
        scope=prediction.caller,
        tracker=request.tracker,
        body=encode_request(replace(request, tracker=None)).encode(),
        replaces=replaces,
    )


def _log(prediction: Prediction) -> None:
    completion = prediction.completion
    outcome = prediction.outcome
    log.info(
        "prediction finished",
        extra={
            "event": "prediction_finished",
            "prediction_id": prediction.id,
            "outcome": outcome.kind if outcome else "unfinished",
            "error_code": outcome.code if isinstance(outcome, Failed) else None,
            "status": completion.status if completion else None,
            "duration_s": round(completion.duration_s or 0.0, 4) if completion else None,
            "case_chars": len(prediction.request.case),
        },
    )
