"""Traces to the bytes of an OTLP request. Source: opentelemetry-proto, trace/v1 and common/v1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

from ddx.core.tracing import Span, Trace, Value
from ddx.errors import MissingExtra

SERVICE = "ddx-server"


def encode(traces: Sequence[Trace], version: str) -> bytes:
    """Return one ExportTraceServiceRequest with all spans. Raises MissingExtra."""
    proto = _proto()
    request = proto.Request()
    resource = request.resource_spans.add()
    _put(resource.resource.attributes, {"service.name": SERVICE, "service.version": version})
    scope = resource.scope_spans.add()
    scope.scope.name = "ddx"
    scope.scope.version = version
    for trace in traces:
        for span in trace.spans:
            _fill(scope.spans.add(), trace, span)
    return bytes(request.SerializeToString())


def _fill(message: Any, trace: Trace, span: Span) -> None:
    proto = _proto()
    message.trace_id = bytes.fromhex(trace.id)
    message.span_id = bytes.fromhex(span.id)
    if span.parent is not None:
        message.parent_span_id = bytes.fromhex(span.parent)
    message.name = span.name
    kind = "SPAN_KIND_CLIENT" if span.calls_out else "SPAN_KIND_INTERNAL"
    message.kind = proto.Span.SpanKind.Value(kind)
    message.start_time_unix_nano = span.start_ns
    message.end_time_unix_nano = span.end_ns
    code = "STATUS_CODE_OK" if span.error is None else "STATUS_CODE_ERROR"
    message.status.code = proto.Status.StatusCode.Value(code)
    if span.error is not None:
        message.status.message = span.error
    _put(message.attributes, span.attributes)


def _put(attributes: Any, values: Mapping[str, Value]) -> None:
    for name, value in values.items():
        pair = attributes.add()
        pair.key = name
        _set(pair.value, value)


def _set(target: Any, value: Value) -> None:
    match value:
        case bool():  # before int, which it is, too
            target.bool_value = value
        case int():
            target.int_value = value
        case float():
            target.double_value = value
        case str():
            # Lone surrogates cannot be UTF-8, and one must not keep a whole batch back.
            target.string_value = value.encode(errors="replace").decode()
        case tuple():
            for item in value:
                _set(target.array_value.values.add(), item)


@cache
def _proto() -> SimpleNamespace:
    try:
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
        from opentelemetry.proto.trace.v1 import trace_pb2
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "traces need opentelemetry-proto: pip install 'ddx-server[tracking]'"
        ) from error
    return SimpleNamespace(
        Request=trace_service_pb2.ExportTraceServiceRequest,
        Span=trace_pb2.Span,
        Status=trace_pb2.Status,
    )
