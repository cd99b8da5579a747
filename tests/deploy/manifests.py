"""What unit files, the compose file and the manifests name: commands, options, variables."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from ddx.adapters.mlflow_server import QUIET
from ddx.settings.values import settable

HOME = Path(__file__).resolve().parents[2]
DEPLOY = HOME / "deploy"
BIN = Path(sys.executable).parent
CASE = "Fever for 3 days, severe headache, pain behind the eyes, joint pain and a petechial rash"
MLFLOW = ["-P", "-m", "ddx.adapters.mlflow_server", "mlflow"]


def check_command(words: Sequence[str]) -> None:
    """Let click read a command line, as `ddx …` or as MLflow by our launcher; run nothing.

    Raises click.ClickException for a command, an option or a value that there is not.
    """
    program, *rest = words
    if Path(program).name == "ddx":
        from ddx.cli import ddx

        _parse(ddx, rest)
        return
    if Path(program).name == "python" and rest[: len(MLFLOW)] == MLFLOW:
        cli = pytest.importorskip("mlflow.cli", reason="needs the extra `tracking`").cli
        _parse(cli, rest[len(MLFLOW) :])
        return
    raise AssertionError(f"nobody knows what {program} is")


def _parse(group: click.Group, words: Sequence[str]) -> None:
    context = group.make_context("x", list(words), resilient_parsing=False)
    with context:
        name, command, rest = group.resolve_command(context, _rest(context))
        assert command is not None
        made = command.make_context(name, rest, parent=context)
        if isinstance(command, click.Group) and _rest(made):
            _parse(command, _rest(made))


def _rest(context: click.Context) -> list[str]:
    return [*context._protected_args, *context.args]


def check_variables(variables: Mapping[str, object], *, quiet: bool = True) -> None:
    """Each DDX_ variable is a setting, and what keeps libraries quiet is there."""
    known = {f"DDX_{field.name.upper()}" for field in settable()} | {"DDX_HOME"}
    assert {name for name in variables if name.startswith("DDX_")} <= known
    if quiet:
        assert {name: variables.get(name) for name in QUIET} == QUIET


def wait_for(done: Callable[[], bool], logs: Iterable[Path], within_s: float = 120) -> None:
    """Wait until `done`, which may fail until then. Fails with the logs' ends."""
    give_up_at = time.monotonic() + within_s
    while time.monotonic() < give_up_at:
        with suppress(httpx.HTTPError, AssertionError):
            if done():
                return
        time.sleep(0.2)
    ends = "\n".join(f"{path.name}: {path.read_text()[-3000:]}" for path in logs)
    raise AssertionError(f"not within {within_s} s\n{ends}")


def ddx_json(environment: Mapping[str, str], *words: str) -> dict[str, Any]:
    """Run a `ddx` command of this environment; return what it prints. Fails where it fails."""
    done = subprocess.run(
        [BIN / "ddx", *words, "--json"],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def pairs(lines: Iterable[str]) -> dict[str, str]:
    """Return the NAME=value lines of an environment file."""
    plain = (line.strip() for line in lines)
    found = (line.partition("=") for line in plain if line and not line.startswith("#"))
    return {name: value for name, _, value in found}
