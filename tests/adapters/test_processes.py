"""Ports and who holds them; children that end with us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ends import eventually, gone

from ddx.adapters import processes

needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")


def sleeper(folder: Path, program: str = "import time; time.sleep(60)") -> processes.Process:
    return processes.Process(
        [sys.executable, "-c", program],
        environment=dict(os.environ),
        folder=folder,
        log=folder / "log",
    )


def test_a_free_port_has_no_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert processes.port_holder("127.0.0.1", port) is None
    assert processes.listener(port) is None


@needs_proc
def test_a_taken_port_names_the_process_that_holds_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        holder = processes.port_holder("127.0.0.1", port)

    assert holder is not None
    assert holder.startswith(f"port {port} is held by pid {os.getpid()} (")
    assert "python" in holder


@needs_proc
def test_a_port_taken_on_every_address_is_taken_on_this_one() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]

        assert f"pid {os.getpid()} " in (processes.port_holder("127.0.0.1", port) or "")


def test_an_address_that_is_not_of_this_machine_is_said() -> None:
    said = processes.port_holder("192.0.2.1", 8000)  # TEST-NET-1: nobody's (RFC 5737)

    assert said is not None
    assert said.startswith("port 8000 of 192.0.2.1 cannot be used")


def test_a_child_writes_to_its_log_and_tells_how_it_ended(tmp_path: Path) -> None:
    child = sleeper(tmp_path, "import sys; print('hello'); sys.exit(3)")

    assert eventually(lambda: child.ended() is not None)
    assert child.ended() == 3
    assert (tmp_path / "log").read_text() == "hello\n"


def test_killing_a_child_kills_what_it_started(tmp_path: Path) -> None:
    child = sleeper(
        tmp_path,
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(60)\n",
    )
    assert eventually(lambda: (tmp_path / "log").read_text().endswith("\n"))
    grandchild = int((tmp_path / "log").read_text())

    child.kill()

    assert child.ended() == -signal.SIGKILL
    assert eventually(lambda: gone(grandchild))


@needs_proc
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys, time\n"
            "from pathlib import Path\n"
            "from ddx.adapters.processes import Process\n"
            "child = Process(['sleep', '60'], environment=dict(os.environ),\n"
            f"    folder=Path({str(tmp_path)!r}), log=Path({str(tmp_path / 'log')!r}))\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(60)\n",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert not gone(child)

    parent.kill()
    parent.wait()

    assert eventually(lambda: gone(child))


@needs_proc
def test_a_process_is_known_by_its_command_folder_and_environment(tmp_path: Path) -> None:
    child = processes.Process(
        ["sleep", "60"], environment={"DDX_HOME": "/x"}, folder=tmp_path, log=tmp_path / "log"
    )
    try:
        assert eventually(lambda: processes.command_of(child.pid) == "sleep 60")
        assert processes.said(child.pid) == f"pid {child.pid} (sleep 60)"
        assert processes.folder_of(child.pid) == str(tmp_path)
        assert processes.environment_of(child.pid) == {"DDX_HOME": "/x"}
        assert str(tmp_path / "log") in set(processes.open_files(child.pid))
    finally:
        child.kill()


def test_a_process_that_is_asked_to_stop_has_stopped_when_the_call_returns(
    tmp_path: Path,
) -> None:
    child = sleeper(tmp_path)

    assert processes.stop(child.pid, within_s=10)

    assert gone(child.pid)
    child.kill()


def test_a_process_that_does_not_stop_is_said_to_run_on(tmp_path: Path) -> None:
    child = sleeper(
        tmp_path,
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\n"
        "time.sleep(60)\n",
    )
    try:
        assert eventually(lambda: (tmp_path / "log").read_text() == "deaf\n")
        assert not processes.stop(child.pid, within_s=0.3)
    finally:
        child.kill()
