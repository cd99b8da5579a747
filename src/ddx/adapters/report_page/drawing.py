"""Figures as charts: which values, in which unit. Loaded with pygal."""

from __future__ import annotations

from collections.abc import Sequence

from ddx.adapters.report_page import charts
from ddx.core.overview import filled, name_of
from ddx.core.report import By, Figures, said

_MOST_SERIES = 5
_MOST_GROUPS = 16


def success(times: Sequence[Figures], step: By) -> str:
    """Return the share that was answered or declined, over time."""
    times = filled(times, step)
    shares = [_percent(one.success_rate) for one in times]
    return charts.lines(_moments(times, step), {"answered or declined": shares}, _percents)


def outcomes(times: Sequence[Figures], step: By) -> str:
    """Return how many ended in which way, over time."""
    times = filled(times, step)
    return charts.bars(
        _moments(times, step),
        {
            "answered": [one.answered for one in times],
            "declined": [one.declined for one in times],
            "failed": [one.failed + one.cancelled + one.interrupted for one in times],
        },
        _whole,
    )


def latency(times: Sequence[Figures], step: By) -> str:
    """Return the median, the 95th and the 99th percentile of time, over time."""
    times = filled(times, step)
    return charts.lines(
        _moments(times, step),
        {name: [getattr(one, f"{name}_s") for one in times] for name in ("p50", "p95", "p99")},
        _seconds,
    )


def stages(times: Sequence[Figures], step: By) -> str:
    """Return where the median time went, of predictions that asked an LLM."""
    times = filled(times, step)
    series = {
        "in the LLM": [one.llm_p50_s for one in times],
        "all else": [one.own_p50_s for one in times],
    }
    return charts.bars(_moments(times, step), series, _seconds)


def cost(times: Sequence[Figures], step: By) -> str:
    """Return dollars, where known, over time."""
    times = filled(times, step)
    dollars = [one.cost_usd for one in times]
    return charts.bars(_moments(times, step), {"US dollars, where known": dollars}, _dollars)


def usage(by_model: Sequence[Figures], times: Sequence[Figures], step: By) -> str:
    """Return how many each model was asked, over time; `by_model` is by step and model."""
    times = filled(times, step)
    totals: dict[str, int] = {}
    counts: dict[tuple[object, str], int] = {}
    for one in by_model:
        moment, model = one.key[0], said(one.key[1])
        counts[moment, model] = one.predictions
        totals[model] = totals.get(model, 0) + one.predictions
    most = sorted(totals, key=lambda model: (-totals[model], model))
    shown, rest = most[:_MOST_SERIES], most[_MOST_SERIES:]
    series = {model: [counts.get((one.key[0], model), 0) for one in times] for model in shown}
    if rest:
        series["others"] = [
            sum(counts.get((one.key[0], model), 0) for model in rest) for one in times
        ]
    return charts.bars(_moments(times, step), series, _whole)


def errors(by_code: Sequence[Figures]) -> str:
    """Return how often each error came, by error code and model."""
    codes = sorted({said(one.key[0]) for one in by_code})
    models = sorted({said(one.key[1]) for one in by_code})
    counts = {(said(one.key[0]), said(one.key[1])): one.predictions for one in by_code}
    series = {model: [counts.get((code, model), 0) for code in codes] for model in models}
    return charts.bars(codes, series, _whole)


def success_by_group(groups: Sequence[Figures]) -> str:
    """Return the share that was answered or declined, for each group."""
    groups = groups[:_MOST_GROUPS]
    shares = [_percent(one.success_rate) for one in groups]
    return charts.sideways([name_of(one) for one in groups], {"per cent": shares}, _percents)


def latency_by_group(groups: Sequence[Figures]) -> str:
    """Return the median and the 95th percentile of time, for each group."""
    groups = groups[:_MOST_GROUPS]
    series = {name: [getattr(one, f"{name}_s") for one in groups] for name in ("p95", "p50")}
    return charts.sideways([name_of(one) for one in groups], series, _seconds)


def _moments(times: Sequence[Figures], step: By) -> list[str]:
    form = "%m-%d %H:00" if step is By.HOUR else "%m-%d"
    return [one.key[0].strftime(form) for one in times]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _percents(value: float) -> str:
    return f"{value:.1f} %"


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.3g} s"


def _dollars(value: float) -> str:
    return f"{value:.4g}"
