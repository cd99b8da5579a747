"""A connection to a Ray cluster, or a cluster of this machine alone that ends with it."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from ddx.core.pieces import MOST_BYTES
from ddx.errors import ClusterUnavailable, MissingExtra

Work = Callable[[bytes, bytes], bytes]
"""(setup, piece) -> answer. A function of a module: it travels by its name."""

_RETRIES = 3
"""How often a piece is given to another process after one died under it: a piece that kills what
it meets must end some time."""
_PROBE_S = 5.0
_TRIES, _PAUSE_S = 20, 0.25
_STORE_BYTES = 80 * 2**20
"""Shared memory of our own cluster: pieces travel in messages, so it is hardly used."""
_PORTS = (
    "metrics_agent_port",
    "metrics_export_port",
    "dashboard_agent_listen_port",
    "runtime_env_agent_port",
)
_LONGEST_FOLDER = 30
"""Ray puts sockets into its folder, 70 characters below; the kernel allows 107."""
_LONGEST_WITH_PROXY = 14
"""HAProxy's are longer."""


class RayCluster:
    """One connection of this process. Belongs to one thread."""

    def __init__(
        self,
        address: str,
        prepare: Callable[[Path], None] | None = None,
        sweep: Callable[[str], None] = lambda folder: None,  # noqa: ARG005
    ) -> None:
        """Join the cluster at `host:port`, or with `auto` this machine's; `` starts one here.

        `prepare` is given the private folder of one that is started here, before it starts, and
        `sweep` after its end: for what outlives it.
        Raises MissingExtra, ClusterUnavailable.
        """
        self._prepare, self._sweep = prepare, sweep
        self._folder: str | None = None
        self._own: Any = None
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        logging.getLogger("ray").setLevel(logging.ERROR)
        if address:
            _probe(address)
        else:
            # Before Ray is loaded: it reads the environment then.
            set_up_loopback()
        self._ray, local = _library()
        self._join(address or self._start(local))

    def workers(self, work: Work, setup: bytes) -> RayWorkers:
        """Return the workers that do `work`; each call of it is given `setup`."""
        return RayWorkers(self._ray, work, setup)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends, with its files."""
        self._ray.shutdown()
        if self._own is not None:
            self._own.shutdown()
        if self._folder is not None:
            self._sweep(self._folder)
            _remove(Path(self._folder))

    def check(self) -> None:
        """See that the cluster that was started here runs. Raises ClusterUnavailable."""
        dead = self._own.head_node.dead_processes() if self._own is not None else ()
        if dead:
            raise ClusterUnavailable(f"a process of Ray ended ({dead[0][0]})")

    def _start(self, local: Any) -> str:
        place = tempfile.gettempdir()
        if len(place) > (_LONGEST_WITH_PROXY if self._prepare else _LONGEST_FOLDER):
            place = "/tmp"  # noqa: S108  (mkdtemp makes a folder of its own there, mode 0700)
        self._folder = tempfile.mkdtemp(prefix="ddx-ray-", dir=place)
        # Where Ray would note the address of the last cluster of this machine.
        os.environ["RAY_TMPDIR"] = self._folder
        files = Path(self._folder) / "ray"
        files.mkdir(mode=0o700)
        if self._prepare is not None:
            self._prepare(Path(self._folder))
        with translated(self.close):
            try:
                self._own = self._one_node(local, files)
            except Exception:
                # Its agents were slower than Ray waits for them: their files are in memory now.
                self._own = self._one_node(local, files)
        return str(self._own.address)

    def _one_node(self, local: Any, files: Path) -> Any:
        cluster = local.Cluster()
        with _sessions_of_their_own():
            cluster.add_node(
                num_cpus=os.cpu_count(), temp_dir=str(files), **one_machine(_STORE_BYTES)
            )
        return cluster

    def _join(self, address: str) -> None:
        with translated(self.close):
            # Its words could quote a case: none is brought here.
            _be_silent()
            self._ray.init(address=address, log_to_driver=False, configure_logging=False)


class RayWorkers:
    """Workers that are processes of a cluster; see ports.Workers."""

    def __init__(self, ray: Any, work: Work, setup: bytes) -> None:
        # A small one travels in each message; a compiled program is large, and travels once.
        self._ray = ray
        self._setup = setup if len(setup) <= MOST_BYTES else ray.put(setup)
        self._task = ray.remote(work).options(num_cpus=1, max_retries=_RETRIES, name=work.__name__)

    @property
    def slots(self) -> int:
        """How many processors the cluster has now; one that grows has more later."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def submit(self, piece: bytes) -> Future[bytes]:
        """Give a piece to the next free process; see ports.Workers."""
        answer: Future[bytes] = Future()

        def told(came: Future[bytes]) -> None:
            if not answer.set_running_or_notify_cancel():
                return
            error = came.exception()
            if error is None:
                answer.set_result(came.result())
            else:
                # Of its text, which may hold a traceback, nothing is said.
                kind = type(error).__name__
                answer.set_exception(ClusterUnavailable(f"Ray gave up a piece of work ({kind})"))

        self._task.remote(self._setup, piece).future().add_done_callback(told)
        return answer


def one_machine(store_bytes: int) -> dict[str, Any]:
    """Return what a node of a cluster on one machine is started with.

    Fewer processes than Ray's own start: no dashboard, nothing that follows logs, nothing that
    adds machines. Ports are free ones: some of Ray's are fixed, and two clusters would meet there.
    """
    return {
        "node_ip_address": "127.0.0.1",
        "object_store_memory": store_bytes,
        "include_dashboard": False,
        "include_log_monitor": False,
        "no_monitor": True,
        **dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True)),
    }


def _remove(folder: Path) -> None:
    """Remove a folder into which a process that is ending may still write a last line."""
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_PAUSE_S)


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def set_up_loopback() -> None:
    """See that nobody else gives our cluster work, which is running code.

    It listens on this machine alone (without this, Ray turns 127.0.0.1 into the machine's outer
    address), and to those who know a token that stands in no file.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Ray would have them yield to everything else (nice 15): on a busy machine slower than one
    # process of ours, which does not.
    os.environ.setdefault("RAY_worker_niceness", "0")


@contextmanager
def _sessions_of_their_own() -> Iterator[None]:
    """Start Ray's processes apart from this one's group, and from its terminal.

    A signal to the group (Ctrl-C, `timeout`, systemd) would end them at once, and this process,
    which ends them when all is done, could finish nothing. If it dies, the kernel tells them.
    """
    from ray._private import services

    plain = getattr(services, "ConsolePopen", None)  # a later Ray may start them in another way
    if plain is None:
        yield
        return
    services.ConsolePopen = partial(plain, start_new_session=True)
    try:
        yield
    finally:
        services.ConsolePopen = plain


def _be_silent() -> None:
    """Keep Ray from writing to standard output, which is a command's own.

    That a node died it prints there in any case, in the middle of a JSON document.
    """
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):  # a later Ray may have another way
        worker.print_to_stdstream = lambda *_, **__: None


def _library() -> tuple[Any, Any]:
    """Return Ray, and what makes a cluster of one machine."""
    try:
        import ray
        from ray import cluster_utils
    except ModuleNotFoundError as error:
        raise MissingExtra("--engine ray needs Ray: pip install 'ddx-server[ray]'") from error
    return ray, cluster_utils


@contextmanager
def translated(undo: Callable[[], None]) -> Iterator[None]:
    """Turn what Ray raises, which may be the end of this process, into an error of ours."""
    try:
        yield
    except (Exception, SystemExit) as error:
        with suppress(Exception):
            undo()
        # Of a trace from another process the last line says it.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ClusterUnavailable(
            f"Ray does not start or take us ({type(error).__name__}: {lines[-1] if lines else ''})"
        ) from error


def _probe(address: str) -> None:
    """See that something listens: Ray itself goes on trying for two minutes and more."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise ClusterUnavailable(f"{address} is no address as 10.0.0.5:6379, and not auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterUnavailable(f"nothing listens at {address}") from error
