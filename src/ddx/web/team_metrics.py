"""The metrics of several processes as those of one server, whichever of them is asked.

What is counted stands in files that all of them share (prometheus_client's multiprocess mode), and
stays there when a process dies: no counter goes back. `PROMETHEUS_MULTIPROC_DIR` must be set before
prometheus_client is imported, so the parent sets it for its workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from ddx import __version__
from ddx.ports import Check

Gauges = Callable[[], dict[str, tuple[str, float]]]
_SUMMED = frozenset(
    {"ddx_running_predictions", "ddx_running_predictions_limit", "ddx_batch_waiting_cases"}
)
"""Of each process; the others are of the machine, the same whoever is asked."""
_NEWEST = frozenset({"ddx_journal_last_sync_timestamp_seconds"})
_TICKS_S = os.sysconf("SC_CLK_TCK")


class Team:
    """What the processes of a team tell each other, and its sum."""

    def __init__(
        self,
        gauges: Gauges,
        checks: Callable[[], Sequence[Check]],
        pids: Callable[[], Sequence[int]],
        deaths: Path,
    ) -> None:
        """`deaths` is a file that grows by a byte with each worker that ends by itself."""
        self._read, self._checks, self._pids, self._deaths = gauges, checks, pids, deaths
        own = CollectorRegistry()
        # Of a dead process they are removed by the parent.
        self._told = {
            name: Gauge(
                name,
                about,
                registry=own,
                multiprocess_mode="livesum" if name in _SUMMED else "max",
            )
            for name, (about, _) in gauges().items()
            if name in _SUMMED | _NEWEST
        }
        self._ok = Gauge(
            "ddx_check_ok",
            "Each check of /readyz: 1, or 0 where it fails in any process.",
            ["check"],
            registry=own,
            multiprocess_mode="livemin",
        )

    def publish(self) -> None:
        """Tell how this process stands."""
        now = self._read()
        for name, gauge in self._told.items():
            gauge.set(now[name][1])
        for check in self._checks():
            self._ok.labels(check.name).set(float(check.ok))

    def summed(self) -> CollectorRegistry:
        """Return all there is to show, with how this process stands at this moment."""
        self.publish()
        found = CollectorRegistry()
        MultiProcessCollector(found)  # type: ignore[no-untyped-call]
        found.register(_Machine(self._read, set(self._told)))
        found.register(_Processes(self._pids, self._deaths))
        return found


class _Machine(Collector):
    """Gauges that are the same in each process."""

    def __init__(self, read: Gauges, without: set[str]) -> None:
        self._read, self._without = read, without

    def collect(self) -> Iterable[Metric]:
        for name, (about, value) in self._read().items():
            if name not in self._without:
                yield GaugeMetricFamily(name, about, value=value)
        yield build_info()


class _Processes(Collector):
    """The names that prometheus_client has for one process, for all of them together."""

    def __init__(self, pids: Callable[[], Sequence[int]], deaths: Path) -> None:
        self._pids, self._deaths = pids, deaths

    def collect(self) -> Iterable[Metric]:
        with suppress(OSError):
            yield worker_deaths(self._deaths.stat().st_size)
        parent, *workers = self._pids()
        began = _values(parent).get("process_start_time_seconds")
        if began is None:
            return  # no /proc here
        yield GaugeMetricFamily(
            "process_start_time_seconds", "When the parent of the workers began.", value=began
        )
        # The parent's time holds that of each child that has ended, so the sum never goes back.
        cpu_s = _ended_children_s(parent)
        sums: dict[str, float] = {}
        for pid in (parent, *workers):
            for name, value in _values(pid).items():
                sums[name] = sums.get(name, 0.0) + value
        cpu_s += sums.get("process_cpu_seconds_total", 0.0)
        yield CounterMetricFamily(
            "process_cpu_seconds", "Processor time of parent and workers.", value=cpu_s
        )
        for name in ("process_resident_memory_bytes", "process_open_fds"):
            if name in sums:
                yield GaugeMetricFamily(name, "Of parent and workers together.", value=sums[name])


def worker_deaths(number: int) -> Metric:
    """Return how many workers died."""
    about = "Workers that ended by themselves, and were started again; 0 without workers."
    return CounterMetricFamily("ddx_worker_deaths", about, value=number)


def build_info() -> Metric:
    """Return which program this is."""
    build = GaugeMetricFamily("ddx_build_info", "This program; always 1.", labels=["version"])
    build.add_metric([__version__], 1.0)
    return build


def _values(pid: int) -> dict[str, float]:
    collector = ProcessCollector(pid=lambda: pid, registry=None)
    found: dict[str, float] = {}
    with suppress(OSError):
        for metric in collector.collect():
            for sample in metric.samples:
                found[sample.name] = sample.value
    return found


def _ended_children_s(pid: int) -> float:
    """Return the processor time of children that were waited for (proc_pid_stat(5), 16 and 17)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / _TICKS_S
