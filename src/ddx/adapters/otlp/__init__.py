"""Traces as OpenTelemetry's protocol has them: protobuf over HTTP."""

from ddx.adapters.otlp.collector import OtlpTraces
from ddx.adapters.otlp.encode import encode

__all__ = ["OtlpTraces", "encode"]
