"""The client for programs without an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Self, Unpack

from ddx.client import answers, asking
from ddx.client.answers import Answer, BatchResult, BatchStatus, Health, Summary
from ddx.client.asking import Ask, CaseBody, Filters, Options
from ddx.client.errors import Refused
from ddx.client.following import Following, Heard
from ddx.client.retries import Reply, Retries, Tries
from ddx.client.transport import OK, STREAM_QUIET_S, library, reply_of, request_of, with_key

if TYPE_CHECKING:
    import httpx


class Client:
    """Asks a DDx server. Safe to share between threads; close it, or use it in a `with`."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        timeout_s: float = 180.0,
        retries: Retries | None = None,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`timeout_s` is for one attempt at one answer; `api_key` and
        `headers` go with each request.

        Raises ModuleNotFoundError without httpx: pip install 'ddx-server[client]'.
        """
        self._retries = retries or Retries()
        self._sleep = sleep
        sent = with_key(headers, api_key)
        self._http = library().Client(
            base_url=url.rstrip("/"),
            timeout=timeout_s,
            headers=sent,
            transport=transport,
        )

    def predict(self, case: str | None = None, **options: Unpack[Options]) -> Answer:
        """Return the differential of a case, as text or as `findings`, or both.

        Raises Refused, with the server's problem, where there is none; Unreachable.
        """
        reply = self._call(asking.predict("/predict/v1", case, options))
        return answers.read(answers.answer, reply.body)

    def stream(self, case: str | None = None, **options: Unpack[Options]) -> Iterator[Heard]:
        """Yield `Accepted`, each `Diagnosis` when it is complete, and at last the `Answer`.

        Where the connection breaks, the same prediction is followed on. Where the model failed
        and it is tried again, a new `Accepted` says so. Raises as `predict`.
        """
        ask = asking.predict("/predict/v1/stream", case, options)
        tries, following = Tries(self._retries), Following()
        while True:
            try:
                yield from self._follow(ask, following)
            except library().TransportError as error:
                wait_s = tries.broken(type(error).__name__)
            else:
                if following.ended:
                    return
                wait_s = following.wait_s(tries)
            self._sleep(wait_s)

    def submit_batch(self, cases: Iterable[str | CaseBody], key: str | None = None) -> BatchStatus:
        """Hand over many cases; return once they are on stable storage.

        The same `key` and cases lead to the same batch. Raises as `predict`.
        """
        reply = self._call(asking.batch(cases, key))
        return answers.read(answers.batch_status, reply.body)

    def batch_status(self, id: str) -> BatchStatus:
        """Return how far a batch is. Raises as `predict`."""
        return answers.read(answers.batch_status, self._call(asking.batch_path(id)).body)

    def batch_results(self, id: str) -> list[BatchResult]:
        """Return what came of the cases that have ended, in the order of the batch."""
        return answers.batch_results(self._call(asking.batch_path(id, "/results")).body)

    def batch(
        self, cases: Iterable[str | CaseBody], *, poll_s: float = 1.0, key: str | None = None
    ) -> list[BatchResult]:
        """Hand over many cases, wait, and return what came of each. Raises as `predict`."""
        status = self.submit_batch(cases, key)
        while not status.done:
            self._sleep(poll_s)
            status = self.batch_status(status.id)
        return self.batch_results(status.id)

    def get(self, prediction_id: str) -> Answer:
        """Return an earlier answer. Raises Refused where it failed then, or is not there."""
        reply = self._call(asking.one(prediction_id), kept=prediction_id)
        return answers.read(answers.answer, reply.body)

    def predictions(self, **filters: Unpack[Filters]) -> Iterator[Summary]:
        """Yield the server's predictions, newest first, page by page."""
        before = None
        while True:
            reply = self._call(asking.listing(filters, before))
            found, before = answers.read(answers.page, reply.body)
            yield from found
            if before is None:
                return

    def health(self) -> Health:
        """Return a sign of life. Raises Unreachable."""
        return answers.read(answers.health, self._call(Ask(path="/health-status")).body)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, ask: Ask, kept: str | None = None) -> Reply:
        """Return a reply that is no refusal. One about `kept` is final: asking again is vain."""
        tries = Tries(self._retries)
        while True:
            try:
                reply = reply_of(self._http.send(request_of(self._http, ask)))
            except library().TransportError as error:
                wait_s = tries.broken(type(error).__name__)
            else:
                if reply.ok:
                    return reply
                if kept is not None and reply.problem.prediction_id == kept:
                    raise Refused(reply.problem)
                wait_s = tries.after(reply)
            self._sleep(wait_s)

    def _follow(self, ask: Ask, following: Following) -> Iterator[Heard]:
        following.again()
        request = request_of(self._http, ask, quiet_s=STREAM_QUIET_S)
        response = self._http.send(request, stream=True)
        try:
            if response.status_code != OK:
                response.read()
                following.refusal = reply_of(response)
                return
            for some in response.iter_bytes():
                yield from following.feed(some)
        finally:
            response.close()
