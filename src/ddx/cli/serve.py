"""`ddx serve`."""

from __future__ import annotations

import click

from ddx.cli import exits
from ddx.cli.overrides import with_address
from ddx.cli.places import on_ray

_CODE = exits.EXIT_CODE


@click.command(
    name="serve",
    epilog=exits.epilog(
        "ddx serve --port 8001\nddx serve --engine ray --workers 2",
        _CODE["bad_settings"],
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
        _CODE["missing_extra"],
        _CODE["port_in_use"],
        _CODE["not_ready"],
        _CODE["journal_unavailable"],
        _CODE["journal_in_use"],
        _CODE["journal_damaged"],
        _CODE["unsafe_address"],
        _CODE["keys_unavailable"],
        _CODE["claims_unavailable"],
        _CODE["cluster_unavailable"],
    ),
)
@click.option("--host", help="Address to listen on, instead of the setting `host`.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port, instead of `port`.")
@click.option("--no-deliverer", is_flag=True, help="Start no `ddx deliver` beside the server.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Processes that share the port, instead of the setting `workers`.",
)
@on_ray
@click.option("--team", hidden=True, help="Names of the workers, where this is one of them.")
@click.option("--beside", type=int, hidden=True, help="The process that a worker ends with.")
def command(
    host: str | None,
    port: int | None,
    workers: int | None,
    engine: str,
    team: str | None,
    beside: int | None,
    *,
    no_deliverer: bool,
) -> None:
    """Run the server, and a deliverer that waits while another one works.

    With several workers, each a process with a journal of its own: one that dies is started
    again. MLflow can come and go beside it. Ends with 143 after SIGTERM, as systemd expects.
    """
    from ddx.settings import load

    settings = with_address(load(), host=host, port=port, workers=workers)
    if team is not None and beside is not None:
        from ddx.web.serve import serve_as_worker

        serve_as_worker(settings, team.split(","), beside)
    elif engine == "ray":
        from ddx.web.replicas import serve_with_ray

        serve_with_ray(settings, with_deliverer=not no_deliverer)
    elif settings.workers > 1:
        from ddx.web.workers import serve_with_workers

        serve_with_workers(settings, with_deliverer=not no_deliverer)
    else:
        from ddx.web.serve import serve

        serve(settings, with_deliverer=not no_deliverer)
