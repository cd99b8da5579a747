"""Where work is done that is not done in this process: a Ray cluster, from settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ddx.adapters import processes
from ddx.settings import Settings

if TYPE_CHECKING:
    from ddx.adapters.ray_cluster import RayCluster

PROCESS, RAY = "process", "ray"
PLACES = (PROCESS, RAY)
"""Where a command's work is done: `--engine`."""


class Cluster:
    """The cluster of one command. Nothing is started or joined before it is needed."""

    def __init__(
        self,
        settings: Settings,
        address: str | None = None,
        prepare: Callable[[Path], None] | None = None,
    ) -> None:
        """`address` is where the settings' cluster is not meant; see `RayCluster`."""
        self._settings, self._prepare = settings, prepare
        self._address = settings.ray_address if address is None else address
        self._cluster: RayCluster | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the cluster, or end the one that was started."""
        if self._cluster is not None:
            self._cluster.close()

    def connected(self) -> RayCluster:
        """Return the cluster, joined or started now where it is not yet.

        Raises MissingExtra, ClusterUnavailable.
        """
        if self._cluster is None:
            from ddx.adapters.ray_cluster import RayCluster

            self._cluster = RayCluster(self._address, self._prepare, processes.kill_of)
        return self._cluster
