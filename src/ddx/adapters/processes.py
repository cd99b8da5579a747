"""Processes of this machine: ports and who holds them, and children that die with us."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from ddx.errors import PortInUse

_PROC = Path("/proc")
_LISTEN = "0A"
_LONGEST_COMMAND = 100
_PR_SET_PDEATHSIG = 1


def port_holder(host: str, port: int) -> str | None:
    """Say who listens on a port, as `port 8000 is held by pid 7 (python …)`; None: it is free.

    A process of another user keeps its name to itself: then its user's number is said.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        return f"the address {host} is not known ({error.strerror})"
    with socket.socket(family, kind, protocol) as probe:
        # As servers do: without it a port is 'taken' for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"port {port} is held by {_listener(port)}"
            return f"port {port} of {host} cannot be used ({error.strerror})"
    return None


def shared_socket(host: str, port: int) -> socket.socket:
    """Return a socket at an address that other processes of this user may have, too.

    The kernel deals connections out among those that listen (socket(7), SO_REUSEPORT). One that
    does not listen gets none, and keeps the address. Raises PortInUse.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise PortInUse(f"Port {port} cannot be shared ({error.strerror}).") from error
    return found


def _listener(port: int) -> str:
    holder = listener(port)
    if holder is not None:
        return said(holder)
    users = ", ".join(sorted({user for _, user in _listening(port)}))
    return f"a process of user number {users}" if users else "another process"


def listener(port: int) -> int | None:
    """Return the process that listens on a port; None where there is none that we may see."""
    sockets = {inode for inode, _ in _listening(port)}
    if not sockets:
        return None
    return next((pid for pid in pids() if sockets & set(_socket_inodes(pid))), None)


def _listening(port: int) -> Iterator[tuple[str, str]]:
    """Yield (inode, user number) of each socket that listens on a port (proc_net(5))."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            local, state, user, inode = columns[1], columns[3], columns[7], columns[9]
            if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                yield inode, user


def _socket_inodes(pid: int) -> Iterator[str]:
    for target in open_files(pid):
        if target.startswith("socket:["):
            yield target.removeprefix("socket:[").removesuffix("]")


def pids() -> list[int]:
    """Return the processes that this machine shows; none where it has no /proc."""
    try:
        return sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
    except OSError:
        return []


def open_files(pid: int) -> Iterator[str]:
    """Yield what a process has open; nothing where it is another user's, or gone."""
    try:
        links = list((_PROC / str(pid) / "fd").iterdir())
    except OSError:
        return
    for link in links:
        with suppress(OSError):
            yield str(link.readlink())


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment a process was started with; empty where it is not ours to see."""
    try:
        raw = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition("=") for entry in raw.decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs if name}


def folder_of(pid: int) -> str:
    """Return where a process works; nothing where it is not ours to see."""
    try:
        return str((_PROC / str(pid) / "cwd").readlink())
    except OSError:
        return ""


def command_of(pid: int) -> str:
    """Return a process's command line, or its short name, or nothing once it is gone."""
    folder = _PROC / str(pid)
    try:
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        return " ".join(word for word in words if word) or (folder / "comm").read_text().strip()
    except OSError:
        return ""


def said(pid: int) -> str:
    """Say a process, as `pid 7 (python -m ddx serve)`."""
    command = command_of(pid)
    if len(command) > _LONGEST_COMMAND:
        command = command[: _LONGEST_COMMAND - 1] + "…"
    return f"pid {pid} ({command})" if command else f"pid {pid}"


def stop(pid: int, within_s: float) -> bool:
    """Ask a process that is not our child to end; return whether it has, in time."""
    until = time.monotonic() + within_s
    try:
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < until:
            if _state(pid) in ("Z", ""):
                return True
            time.sleep(0.05)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def kill_of(folder: str) -> None:
    """End at once each other process that was started with a private folder in its command line,
    or in its environment as Ray's.
    """
    for pid in pids():
        named = folder in command_of(pid) or environment_of(pid).get("RAY_TMPDIR") == folder
        if named and pid != os.getpid():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _state(pid: int) -> str:
    """Return the letter of a process's state (proc_pid_stat(5)); nothing once it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


class Process:
    """A child process in a session of its own. It dies when we do, even by kill -9; but one that
    sees to that by itself (`end_with`) is started without what is unsafe beside other threads.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path | None,
        ends_by_itself: bool = False,
    ) -> None:
        """`log` None: it writes where we write."""
        with log.open("ab") if log else nullcontext() as file:
            self._popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT if log else None,
                cwd=folder,
                env=dict(environment),
                # Ctrl-C on the terminal reaches us alone: we stop the others in order.
                start_new_session=True,
                # Not run beside other threads: the supervisor of `ddx up` has none.
                preexec_fn=None if ends_by_itself else _dies_with(os.getpid()),  # noqa: PLW1509
            )

    @property
    def pid(self) -> int:
        """Its process id, and the number of its group."""
        return self._popen.pid

    def ended(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        return self._popen.poll()

    def terminate(self) -> None:
        """Ask it to end."""
        self._popen.terminate()

    def kill(self) -> None:
        """End it and its group, and wait until it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()


def end_with(parent: int) -> None:
    """Let this process end when its parent ends, or now, if it has."""
    run = _dies_with(parent)
    if run is not None:
        run()


def _dies_with(parent: int) -> Callable[[], None] | None:
    """Return what a child runs before its program: the kernel kills it when `parent` ends.

    SIGKILL, as a child that ignores a gentler signal would outlive us; each of ours can be
    killed at any moment without losing a record. Source: prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)

    def run() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the kernel knew
            os._exit(1)

    return run
