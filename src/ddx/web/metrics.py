"""Prometheus metrics: units in the names, no patient text in a label."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ddx.core.record import Prediction

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """What this process counts."""

    def __init__(self, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self.registry = CollectorRegistry()
        self._predictions = Counter(
            "ddx_predictions_total",
            "Finished predictions, replayed ones not counted.",
            ["model", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "ddx_prediction_seconds",
            "Time from receipt until the answer was ready.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._refused = Counter(
            "ddx_refused_total",
            "Requests answered without a prediction.",
            ["code"],
            registry=self.registry,
        )
        self.registry.register(_Gauges(gauges))

    def finished(self, prediction: Prediction, known_models: Iterable[str]) -> None:
        """Count a prediction. A model name that is not registered is `unknown`."""
        name = prediction.request.model_name
        model = name if name in known_models else "unknown"
        outcome = prediction.outcome
        self._predictions.labels(model, outcome.kind if outcome else "unfinished").inc()
        if prediction.completion and prediction.completion.duration_s is not None:
            self._seconds.labels(model).observe(prediction.completion.duration_s)

    def refused(self, code: str) -> None:
        """Count a refusal."""
        self._refused.labels(code).inc()

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text form."""
        return generate_latest(self.registry)


class _Gauges(Collector):
    """Reads the gauges when they are asked for."""

    def __init__(self, read: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        for name, (about, value) in self._read().items():
            yield GaugeMetricFamily(name, about, value=value)
