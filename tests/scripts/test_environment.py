"""What a process of our .venv gets to know before it runs a line: `ddx_environment.pth`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddx.adapters import mlflow_server

HOME = Path(__file__).resolve().parents[2]
SHOWS = "import json, os; print(json.dumps(dict(os.environ)))"
NAMES = (
    "LITELLM_LOCAL_MODEL_COST_MAP",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION",
    "MLFLOW_DISABLE_TELEMETRY",
)


def _environment(**given: str) -> dict[str, str]:
    import json

    bare = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "-c", SHOWS],
        env={**bare, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_every_python_of_the_environment_is_safe_offline() -> None:
    found = _environment()

    assert {name: found.get(name) for name in NAMES} == {
        name: mlflow_server.QUIET[name] for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_has_set_stays(name: str) -> None:
    assert _environment(**{name: "mine"})[name] == "mine"
