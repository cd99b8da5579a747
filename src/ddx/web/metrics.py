"""Prometheus metrics: units in the names, no patient text in a label.

Labels have few values: models of the registry, codes of errors.py, routes, kinds of outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ddx.core.record import Failed, Prediction
from ddx.errors import BacklogFull, DdxError, JournalFull, JournalUnavailable, Overloaded
from ddx.ports import Check
from ddx.web.team_metrics import Team, build_info, worker_deaths

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_WATCHED = (DdxError, Overloaded, JournalUnavailable, JournalFull, BacklogFull)
"""Refusals that are there from the start, as 0: Prometheus sees no rise in what begins with 1."""

Gauges = Callable[[], dict[str, tuple[str, float]]]


class Metrics:
    """What this process counts; or, with a team, what all of its processes count together."""

    def __init__(
        self,
        gauges: Gauges,
        checks: Callable[[], Sequence[Check]],
        team: tuple[Callable[[], Sequence[int]], Path] | None = None,
    ) -> None:
        """`team` is what team_metrics.Team needs besides; None: this server is one process."""
        # No second series for each, with the time of its first count.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._requests = self._counter(
            "ddx_http_requests",
            "HTTP requests by the status of their reply.",
            "route method status",
        )
        self._predictions = self._counter(
            "ddx_predictions", "Finished predictions, replayed ones not counted.", "model outcome"
        )
        self._failures = self._counter(
            "ddx_failures", "Failed predictions by their error.", "model code"
        )
        self._seconds = self._histogram(
            "ddx_prediction_seconds", "Time from receipt until the answer was ready."
        )
        self._refused = self._counter(
            "ddx_refused", "Requests answered without a prediction.", "code"
        )
        self._call_seconds = self._histogram(
            "ddx_llm_call_seconds", "Time of one call of an LLM; their number is that of attempts."
        )
        self._failed_calls = self._counter(
            "ddx_llm_failed_calls", "Calls of an LLM that failed, by kind of error.", "model error"
        )
        self._tokens = self._counter(
            "ddx_llm_tokens", "Tokens of calls, where the provider says them.", "model direction"
        )
        self._cost = self._counter(
            "ddx_llm_cost_usd", "US dollars of the calls whose price is known.", "model"
        )
        self._unpriced = self._counter(
            "ddx_llm_unpriced_calls", "Calls whose price is not known.", "model"
        )
        for error in _WATCHED:
            self._refused.labels(error.code)
        if team is None:
            self._team = None
            self.registry.register(_Gauges(gauges, checks))
            ProcessCollector(registry=self.registry)
        else:
            self._team = Team(gauges, checks, *team)

    def finished(self, prediction: Prediction, known_models: Iterable[str]) -> None:
        """Count a prediction. A model name that is not registered is `unknown`."""
        name = prediction.request.model_name
        model = name if name in known_models else "unknown"
        outcome, completion = prediction.outcome, prediction.completion
        self._predictions.labels(model, outcome.kind if outcome else "unfinished").inc()
        if isinstance(outcome, Failed):
            self._failures.labels(model, outcome.code).inc()
        if completion is None:
            return
        if completion.duration_s is not None:
            self._seconds.labels(model).observe(completion.duration_s)
        for call in completion.answer.calls:
            self._call_seconds.labels(model).observe(call.latency_s)
            self._tokens.labels(model, "input").inc(call.input_tokens or 0)
            self._tokens.labels(model, "output").inc(call.output_tokens or 0)
            self._cost.labels(model).inc(call.cost_usd or 0.0)
            self._unpriced.labels(model).inc(call.cost_usd is None)
            if call.error is not None:
                self._failed_calls.labels(model, call.error).inc()

    def refused(self, code: str) -> None:
        """Count a refusal."""
        self._refused.labels(code).inc()

    def answered(self, route: str, method: str, status: int) -> None:
        """Count a reply; `route` is its path as declared, without a client's words."""
        self._requests.labels(route, method, str(status)).inc()

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text form."""
        if self._team is not None:
            return generate_latest(self._team.summed())
        return generate_latest(self.registry)

    def publish(self) -> None:
        """Tell the other processes of the team how this one stands; nothing where it is alone."""
        if self._team is not None:
            self._team.publish()

    def _counter(self, name: str, about: str, labels: str) -> Counter:
        return Counter(name, about, labels.split(), registry=self.registry)

    def _histogram(self, name: str, about: str) -> Histogram:
        return Histogram(name, about, ["model"], buckets=_SECONDS, registry=self.registry)


class _Gauges(Collector):
    """Reads the gauges when they are asked for."""

    def __init__(self, read: Gauges, checks: Callable[[], Sequence[Check]]) -> None:
        self._read = read
        self._checks = checks

    def collect(self) -> Iterable[Metric]:
        for name, (about, value) in self._read().items():
            yield GaugeMetricFamily(name, about, value=value)
        checks = GaugeMetricFamily(
            "ddx_check_ok", "Each check of /readyz: 1, or 0 where it fails.", labels=["check"]
        )
        for check in self._checks():
            checks.add_metric([check.name], float(check.ok))
        yield checks
        yield worker_deaths(0)
        yield build_info()
