"""What a server process is made of."""

from __future__ import annotations

from pathlib import Path

from ddx import settings
from ddx.web.serve import http_server
from ddx.web.state import Server


def test_a_kept_connection_never_waits_for_a_delayed_acknowledgement(tmp_path: Path) -> None:
    """Without uvloop each answer on one would wait 40 ms, with several processes."""
    server = Server(
        settings.load({"DDX_BENCH_MODELS": "1", "DDX_DEFAULT_MODEL": "instant"}, home=tmp_path)
    )
    server.start()
    try:
        config = http_server(server).config
        config.load()
        factory = config.get_loop_factory()
        assert factory is not None
        assert factory.__module__.startswith("uvloop")
        assert "httptools" in config.http_protocol_class.__module__
    finally:
        server.stop()
