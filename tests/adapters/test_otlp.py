"""What a collector of OpenTelemetry is sent, decoded by OpenTelemetry's own definitions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.make import CASE, finished
from tests.otlp_receiver import Receiver, a_receiver, attributes
from tests.tracking_server import a_free_port

from ddx.adapters.otlp import OtlpTraces
from ddx.core.tracing import Trace, trace_of
from ddx.errors import DeliveryRefused, TracesUnavailable

pytest.importorskip("opentelemetry.proto", reason="needs the extra `tracking`")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as running:
        yield running


def a_trace(*, content: bool = False) -> Trace:
    return trace_of(finished(), content=content)


def test_spans_arrive_as_they_are(receiver: Receiver) -> None:
    trace = a_trace()
    OtlpTraces(receiver.endpoint, "authorization=Bearer%20abc", "1.2.3").send([trace], {})
    assert receiver.paths == ["/v1/traces"]
    assert receiver.headers[0]["authorization"] == "Bearer abc"
    assert receiver.headers[0]["content-type"] == "application/x-protobuf"
    (resource,) = receiver.requests[0].resource_spans
    assert attributes(resource.resource) == {
        "service.name": "ddx-server",
        "service.version": "1.2.3",
    }
    root, call, read = receiver.spans()
    assert {one.trace_id.hex() for one in (root, call, read)} == {trace.id}
    assert [one.span_id.hex() for one in (root, call, read)] == [one.id for one in trace.spans]
    assert (root.parent_span_id, call.parent_span_id) == (b"", root.span_id)
    assert (root.kind, call.kind) == (root.SPAN_KIND_INTERNAL, root.SPAN_KIND_CLIENT)
    assert root.end_time_unix_nano - root.start_time_unix_nano == 1_250_000_000
    assert root.status.code == root.status.STATUS_CODE_OK
    for sent, meant in zip((root, call, read), trace.spans, strict=True):
        assert attributes(sent) == {
            k: list(v) if isinstance(v, tuple) else v for k, v in meant.attributes.items()
        }


def test_no_patient_text_is_on_the_wire_unless_asked_for(receiver: Receiver) -> None:
    traces = OtlpTraces(receiver.endpoint, "", "1")
    traces.send([a_trace()], {})
    assert b"fever" not in receiver.bodies[0]
    assert b"Dengue" not in receiver.bodies[0]
    traces.send([a_trace(content=True)], {})
    assert CASE.encode() in receiver.bodies[1]


@pytest.mark.parametrize("answer", [401, 404, 429, 500, 503, "cut"])
def test_what_may_go_well_later_is_said_to_be_away(receiver: Receiver, answer: int | str) -> None:
    receiver.answers = [answer]
    traces = OtlpTraces(f"{receiver.endpoint}/v1/traces/", "", "1")
    with pytest.raises(TracesUnavailable):
        traces.send([a_trace()], {})
    traces.send([a_trace()], {})
    assert receiver.paths == ["/v1/traces"] * 2


@pytest.mark.parametrize("answer", [400, 413])
def test_what_is_refused_is_said_to_be_refused(receiver: Receiver, answer: int) -> None:
    receiver.answers = [answer]
    with pytest.raises(DeliveryRefused):
        OtlpTraces(receiver.endpoint, "", "1").send([a_trace()], {})


def test_a_collector_that_is_not_there_is_away() -> None:
    with pytest.raises(TracesUnavailable, match="does not answer"):
        OtlpTraces(f"http://127.0.0.1:{a_free_port()}", "", "1").send([a_trace()], {})
