"""What the benchmarks share: a process to measure, a load, a disk's own speed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CASE = (
    "A 24-year-old man has had fever for 3 days with headache, joint pain and a rash. "
    + "He works in the fields and drinks from a well. " * 40
)
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one run of the load printed."""

    per_second: float
    p50_ms: float
    p99_ms: float
    refused: int


def wrk(
    url: str, connections: int, seconds: float, *, trackers: str = "", method: str = "POST"
) -> Load:
    """Post the same case again and again; with `trackers` each with one of its own, which begins
    so. Needs `wrk` (Debian: apt-get install wrk).
    """
    if shutil.which("wrk") is None:
        sys.exit("error: this benchmark needs wrk\nadvice: apt-get install wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        body = json.dumps({"case": CASE}).replace("'", "\\'")
        script.write(
            f"wrk.method = '{method}'\nwrk.body = '{body}'\n"
            "wrk.headers['Content-Type'] = 'application/json'\n"
        )
        if trackers:
            script.write(
                f"local n, rest = 0, string.sub('{body}', 2)\n"
                "request = function()\n"
                "  n = n + 1\n"
                f"  local head = '{{\"tracker\": \"{trackers}-' .. n .. '\", '\n"
                "  return wrk.format(nil, nil, nil, head .. rest)\n"
                "end\n"
            )
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s"]
        done = subprocess.run(
            [*command, "-s", script.name, "--latency", url],
            capture_output=True,
            text=True,
            check=True,
        )
    text = done.stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Load(
        per_second=float(_found(r"Requests/sec:\s+([\d.]+)", text)),
        p50_ms=_milliseconds(_found(r"(?m)^ +50%\s+(\S+)", text)),
        p99_ms=_milliseconds(_found(r"(?m)^ +99%\s+(\S+)", text)),
        refused=int(refused.group(1)) if refused else 0,
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        sys.exit(f"error: wrk printed nothing for {pattern}\n{text}")
    return match.group(1)


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


def fdatasync_ms(folder: Path, times: int = 200, size: int = 10_000) -> float:
    """Return the median time of writing and syncing 10 kB, in milliseconds."""
    path, data, taken = folder / "sync.probe", os.urandom(size), []
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(times):
            began = time.perf_counter()
            os.write(file, data)
            os.fdatasync(file)
            taken.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(file)
        path.unlink()
    return statistics.median(taken)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(
    command: list[str],
    ready_url: str | None,
    environment: Mapping[str, str],
    log: Path,
    within_s: float = 120,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process as long as the context lasts, from when `ready_url` answers 200."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        give_up_at = time.monotonic() + within_s
        while ready_url is not None and not _answers(ready_url):
            if started.poll() is not None or time.monotonic() > give_up_at:
                sys.exit(f"error: {command} did not start\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield started
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGTERM)
            try:
                started.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(_found(r"VmRSS:\s+(\d+)", text)) / 1024
