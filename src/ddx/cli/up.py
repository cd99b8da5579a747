"""`ddx up`."""

from __future__ import annotations

import signal
import time

import click

from ddx.cli import exits
from ddx.cli.overrides import with_address
from ddx.settings import Settings, load
from ddx.wiring import launch, vaults
from ddx.wiring.callers import check_address, check_mlflow_address, issuer
from ddx.wiring.launch import reachable
from ddx.wiring.migrating import check_artifacts
from ddx.wiring.mlflow_login import had_login
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
        _CODE["master_key_unavailable"],
        _CODE["wrong_master_key"],
        _CODE["missing_extra"],
        _CODE["port_in_use"],
        _CODE["already_running"],
        _CODE["not_ready"],
        _CODE["unsafe_address"],
        _CODE["keys_unavailable"],
        _CODE["move_refused"],
    ),
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the server.")
@click.option("--mlflow-port", type=click.IntRange(1, 65535), help="Port of MLflow.")
@click.option(
    "--local-llm", is_flag=True, help="Serve a small model, too: `model_name` local, no key."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Server processes that share the port, instead of the setting `workers`.",
)
@click.option("--secure", is_flag=True, help="Start MLflow with its own login.")
def command(
    port: int | None,
    mlflow_port: int | None,
    workers: int | None,
    *,
    local_llm: bool,
    secure: bool,
) -> int:
    """Start MLflow, the server and the deliverer, and keep them running.

    One that dies is started again. Ctrl-C stops all three, after running requests are
    answered. Their logs are in ddx_data/logs.
    """
    settings = with_address(
        load(), port=port, mlflow_port=mlflow_port, workers=workers, mlflow_secure=secure or None
    )
    began = time.monotonic()
    supervisor = launch.supervisor(settings, say=_say, local_llm=local_llm)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop())
    what = "MLflow, the server" if launch.starts_mlflow(settings) else "the server"
    check_address(settings)
    check_mlflow_address(settings)
    issuer(settings)
    check_artifacts(settings)
    vaults.check(settings)
    masker(settings)  # a server that cannot mask would end, and be started again and again
    if had_login(settings) and not settings.mlflow_secure:
        _say(
            "MLflow had its own login here and starts without it now: whoever is on this machine"
            " gets in. To keep it, set mlflow_secure = true in ddx.toml, or say --secure each time"
        )
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
    server = settings.public_url or settings.server_url.replace(
        settings.host, reachable(settings.host)
    )
    key = ' -H "Authorization: Bearer $KEY"' if settings.require_api_keys else ""
    click.echo(
        f"\nReady after {took_s:.0f} s. Ctrl-C stops everything.\n\n"
        f"  DDx     {server}\n"
        f"  MLflow  {settings.mlflow_uri}\n\n"
        f"Try it:\n\n"
        f"  curl -s {server}/predict/v1 -H 'Content-Type: application/json'{key} \\\n"
        f'    -d \'{{"case": "{_CASE}"}}\'\n'
    )
