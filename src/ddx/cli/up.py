"""`ddx up`."""

from __future__ import annotations

import signal
import time

import click

from ddx.cli import exits
from ddx.cli.overrides import with_address
from ddx.settings import Settings, load
from ddx.wiring import launch
from ddx.wiring.launch import reachable
from ddx.wiring.privacy import masker

_CODE = exits.EXIT_CODE
_CASE = (
    "34-year-old man, fever for 3 days, severe headache, pain behind the eyes, joint pain "
    "and a petechial rash. No cough."
)


@click.command(
    name="up",
    epilog=exits.epilog(
        "ddx up --port 8001",
        _CODE["bad_settings"],
        _CODE["missing_extra"],
        _CODE["port_in_use"],
        _CODE["already_running"],
        _CODE["not_ready"],
        _CODE["missing_extra"],
    ),
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the server.")
@click.option("--mlflow-port", type=click.IntRange(1, 65535), help="Port of MLflow.")
@click.option(
    "--local-llm", is_flag=True, help="Serve a small model, too: `model_name` local, no key."
)
def command(port: int | None, mlflow_port: int | None, *, local_llm: bool) -> int:
    """Start MLflow, the server and the deliverer, and keep them running.

    One that dies is started again. Ctrl-C stops all three, after running requests are
    answered. Their logs are in ddx_data/logs.
    """
    settings = with_address(load(), port=port, mlflow_port=mlflow_port)
    began = time.monotonic()
    supervisor = launch.supervisor(settings, say=_say, local_llm=local_llm)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop())
    what = "MLflow, the server" if launch.starts_mlflow(settings) else "the server"
    masker(settings)  # a server that cannot mask would end, and be started again and again
    supervisor.check_ports()  # before anything is touched: another `ddx up` may run here
    with launch.alone(settings):
        launch.prepare(settings)
        if local_llm:
            _say(launch.LOCAL_LLM_WARNING)
        _say(f"starting {what} and the deliverer; their logs are in {settings.data / 'logs'}")
        supervisor.run(lambda: _welcome(settings, time.monotonic() - began))
    _say("all stopped")
    return exits.EXIT_OK


def _say(line: str) -> None:
    click.echo(f"ddx: {line}")


def _welcome(settings: Settings, took_s: float) -> None:
    server = f"http://{reachable(settings.host)}:{settings.port}"
    mlflow = settings.tracking_uri or (
        f"http://{reachable(settings.mlflow_host)}:{settings.mlflow_port}"
    )
    click.echo(
        f"\nReady after {took_s:.0f} s. Ctrl-C stops everything.\n\n"
        f"  DDx     {server}\n"
        f"  MLflow  {mlflow}\n\n"
        f"Try it:\n\n"
        f"  curl -s {server}/predict/v1 -H 'Content-Type: application/json' \\\n"
        f'    -d \'{{"case": "{_CASE}"}}\'\n'
    )
