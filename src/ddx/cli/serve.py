"""`ddx serve`."""

from __future__ import annotations

import click

from ddx.cli import exits
from ddx.cli.overrides import with_address

_CODE = exits.EXIT_CODE


@click.command(
    name="serve",
    epilog=exits.epilog(
        "ddx serve --port 8001",
        _CODE["bad_settings"],
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
        _CODE["missing_extra"],
        _CODE["port_in_use"],
        _CODE["journal_unavailable"],
        _CODE["journal_in_use"],
        _CODE["journal_damaged"],
        _CODE["unsafe_address"],
        _CODE["keys_unavailable"],
    ),
)
@click.option("--host", help="Address to listen on, instead of the setting `host`.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port, instead of `port`.")
@click.option("--no-deliverer", is_flag=True, help="Start no `ddx deliver` beside the server.")
def command(host: str | None, port: int | None, *, no_deliverer: bool) -> None:
    """Run the server, and a deliverer that waits while another one works.

    MLflow can come and go beside it. Ends with 143 after SIGTERM, as systemd expects.
    """
    from ddx.settings import load
    from ddx.web.serve import serve

    serve(with_address(load(), host=host, port=port), with_deliverer=not no_deliverer)
