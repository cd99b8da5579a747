"""A collector of OpenTelemetry, over HTTP."""

from __future__ import annotations

import gzip
import http.client
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from ddx.adapters.otlp.encode import encode
from ddx.core.assessing import Assessment
from ddx.core.record import PredictionId
from ddx.core.tracing import Trace
from ddx.errors import DeliveryRefused, TracesUnavailable

_PATH = "/v1/traces"
_TIMEOUT_S = 10.0
_REFUSED = frozenset({400, 413, 422})
"""What comes again for the same spans. Others, also 401 and 404, are mended on the other side."""


class OtlpTraces:
    """Traces that are posted to a collector. Not for several threads."""

    name = "otlp"
    linked = False

    def __init__(self, endpoint: str, headers: str, version: str) -> None:
        """`endpoint` is the collector's address, `http://127.0.0.1:4318`, with or without
        /v1/traces; `headers` are as in OTEL_EXPORTER_OTLP_HEADERS: `name=value,name=value`.
        """
        parts = urlsplit(endpoint)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        path = parts.path.rstrip("/")
        self._path = path if path.endswith(_PATH) else path + _PATH
        self._version = version
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "gzip",
            "User-Agent": f"ddx-server/{version}",
            **read_headers(headers),
        }

    def send(self, traces: Sequence[Trace], run_ids: Mapping[PredictionId, str]) -> None:  # noqa: ARG002
        """Post them; see ports.Traces. Repeated after a lost answer: the ids are the same."""
        body = gzip.compress(encode(traces, self._version), compresslevel=1)
        connection = self._connection()
        try:
            connection.request("POST", self._path, body, self._headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            kind = type(error).__name__
            raise TracesUnavailable(f"the trace collector does not answer: {kind}") from error
        finally:
            connection.close()
        if answer.status in _REFUSED:
            raise DeliveryRefused(f"the trace collector refuses: HTTP {answer.status}")
        if not 200 <= answer.status < 300:
            raise TracesUnavailable(f"the trace collector answers HTTP {answer.status}")

    def assess(self, trace_id: str, said: Sequence[Assessment]) -> None:
        """Do nothing: OpenTelemetry has no word for it."""

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=_TIMEOUT_S, context=context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)


def read_headers(text: str) -> dict[str, str]:
    """Read headers as OpenTelemetry writes them into a variable.

    >>> read_headers("authorization=Bearer%20abc, x-tenant=clinic")
    {'authorization': 'Bearer abc', 'x-tenant': 'clinic'}
    """
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}
