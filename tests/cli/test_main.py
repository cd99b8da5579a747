"""The command line as a whole: what it loads, how it fails, what it promises in its help."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import ddx.errors
from ddx.cli import COMMANDS, run
from ddx.cli import ddx as group
from ddx.cli.exits import EXIT_CODE, report
from ddx.errors import DdxError, PortInUse

HEAVY = {"mlflow", "dspy", "litellm", "fastapi", "starlette", "uvicorn", "numpy", "apsw", "ray"}


def test_help_loads_no_command_and_no_heavy_library() -> None:
    program = (
        "import json, sys\n"
        "from ddx.cli import run\n"
        "code = run(['--help'])\n"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    code, loaded = json.loads(done.stderr)
    assert code == 0
    assert not HEAVY & set(loaded)
    assert not {f"ddx.cli.{name}" for name in COMMANDS} & set(loaded)
    for name, text in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert text in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_an_example_and_its_exit_codes_in_its_help(name: str) -> None:
    shown = CliRunner().invoke(group, [name, "--help"])

    assert shown.exit_code == 0
    assert f"Example:\n    ddx {name}" in shown.output or f"ddx {name}\n" in shown.output
    assert "Exit codes:\n    0   done" in shown.output


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_prints_json_where_it_prints_data(name: str) -> None:
    options = CliRunner().invoke(group, [name, "--help"]).output

    assert ("--json" in options) == (name not in ("up", "serve"))


def _errors() -> list[type[DdxError]]:
    modules = [ddx.errors, importlib.import_module("ddx.services.reset")]
    found = [value for module in modules for value in vars(module).values()]
    return [v for v in found if inspect.isclass(v) and issubclass(v, DdxError)]


@pytest.mark.parametrize("error", _errors(), ids=lambda error: error.code)
def test_every_error_has_an_exit_code_that_no_success_has(error: type[DdxError]) -> None:
    assert 2 < EXIT_CODE[error.code] < 126


def test_an_error_is_one_sentence_and_an_advice_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = report(PortInUse("MLflow cannot start: port 5000 is held by pid 7 (nc)"))

    said = capsys.readouterr()
    assert code == EXIT_CODE["port_in_use"]
    assert said.out == ""
    assert said.err == (
        "error: MLflow cannot start: port 5000 is held by pid 7 (nc)\n"
        "advice: Stop that process, or choose another port in ddx.toml.\n"
    )


def test_a_wrong_setting_ends_every_command_that_reads_settings_with_its_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ddx.toml").write_text("prot = 8001\n")
    monkeypatch.setenv("DDX_HOME", str(tmp_path))

    for name in ("config", "models", "prompts", "doctor", "up", "serve", "deliver"):
        assert run([name]) == EXIT_CODE["bad_settings"], name
        said = capsys.readouterr().err
        assert said.startswith("error: ddx.toml has an unknown key 'prot'; did you mean")
        assert "advice: " in said


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predictt"]) == 2
    assert "No such command 'predictt'" in capsys.readouterr().err


def test_an_unforeseen_error_shows_where_it_happened_and_ends_with_the_internal_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ddx.settings.load", broken)

    assert run(["models"]) == EXIT_CODE["internal"]
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert said.rstrip().splitlines()[-1].startswith("advice: ")


def test_a_reader_that_leaves_early_is_met_without_a_complaint() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "ddx", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.close()

    child.wait()
    assert child.stderr is not None
    assert child.stderr.read() == b""
