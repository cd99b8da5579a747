"""A running DDx server, asked as its clients ask it."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from ddx.core.evaluation import Asked
from ddx.core.record import (
    Answered,
    Code,
    Declined,
    Diagnosis,
    Failed,
    Likelihood,
    Outcome,
    Request,
)
from ddx.errors import (
    DdxError,
    ModelNotConfigured,
    NotAllowed,
    NotIdentified,
    ServerUnreachable,
    UnknownModel,
    UnknownPrompt,
)

_BUSY = frozenset({429, 503})
_TRIES = 6
_LONGEST_WAIT_S = 30.0
_FATAL: dict[str, type[DdxError]] = {
    error.code: error
    for error in (
        UnknownModel,
        UnknownPrompt,
        ModelNotConfigured,
        NotIdentified,
        NotAllowed,
    )
}


class ServerAsker:
    """An Asker over HTTP. The server keeps each prediction, as it does for everyone."""

    def __init__(self, url: str, timeout_s: float, api_key: str | None = None) -> None:
        """`timeout_s` is how long one answer may take. Raises ServerUnreachable."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerUnreachable(f"{url} is no address as http://127.0.0.1:8000")
        self._parts, self._timeout_s = parts, timeout_s
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    async def ask(self, request: Request) -> Asked:
        """Return the answer; see ports.Asker. A busy server is asked again, some times."""
        return await asyncio.to_thread(self._ask, request)

    def _ask(self, request: Request) -> Asked:
        body = json.dumps(_body(request)).encode()
        for left in reversed(range(_TRIES)):
            started_s = time.monotonic()
            status, retry_after, text = self._post(body)
            duration_s = time.monotonic() - started_s
            outcome = _outcome(status, text)
            fatal = _FATAL.get(outcome.code) if isinstance(outcome, Failed) else None
            if fatal is not None and isinstance(outcome, Failed):
                raise fatal(outcome.message)
            if status not in _BUSY or not left:
                break
            time.sleep(min(_LONGEST_WAIT_S, retry_after))
        return Asked(outcome=outcome, duration_s=duration_s)

    def _post(self, body: bytes) -> tuple[int, float, bytes]:
        parts = self._parts
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.hostname or "", parts.port, timeout=self._timeout_s)
        try:
            connection.request(
                "POST",
                f"{parts.path.rstrip('/')}/predict/v1",
                body,
                self._headers,
            )
            answer = connection.getresponse()
            return answer.status, _seconds(answer.getheader("Retry-After")), answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServerUnreachable(
                f"{parts.scheme}://{parts.netloc} does not answer ({type(error).__name__})"
            ) from error
        finally:
            connection.close()


def _body(request: Request) -> dict[str, Any]:
    values = {
        "case": request.case or None,
        "findings": asdict(request.findings) if request.findings else None,
        "model_name": request.model_name,
        "prompt_version": request.prompt_version,
        "setting": request.setting,
        "temperature": request.temperature,
        "top_k": request.top_k,
        "max_tokens": request.max_tokens,
        "top_differential": request.top_differential,
    }
    return {name: value for name, value in values.items() if value is not None}


def _outcome(status: int, text: bytes) -> Outcome:
    try:
        body = json.loads(text)
        if status != http.client.OK:
            return Failed(code=str(body["code"]), message=str(body.get("detail", "")))
        data = body["data"]
        if data["outcome"] != Answered.kind or not data["result"]:
            return Declined(reason=str(data.get("conclusion", "")))
        return Answered(diagnoses=tuple(_diagnosis(entry) for entry in data["result"]))
    except (ValueError, KeyError, TypeError):
        return Failed(code="model_error", message=f"status {status}, with a body of another form")


def _diagnosis(entry: dict[str, Any]) -> Diagnosis:
    return Diagnosis(
        name=str(entry["diagnosis"]),
        likelihood=Likelihood(entry["likelihood"]),
        probability=entry.get("probability"),
        codes=tuple(Code(**code) for code in entry.get("codes") or ()),
    )


def _seconds(header: str | None) -> float:
    return float(header) if header and header.isdecimal() else 1.0
