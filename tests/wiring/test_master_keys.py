"""The records' keys under a master key from each of its places, by the command line."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.kms import a_kms
from tests.make import finished
from tests.web.conftest import ENVIRONMENT
from tests.web.real import running

from ddx.adapters.sqlite_journal import KeyFile, SqliteJournal, SqliteJournalReader
from ddx.cli import run
from ddx.cli.exits import EXIT_CODE
from ddx.core.record import Prediction, PredictionId
from ddx.errors import Erased
from ddx.services import doctor_all
from ddx.settings import load
from ddx.wiring import vaults

Cli = Callable[..., tuple[int, str, str]]
LINE = "ab" * 32


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in {**ENVIRONMENT, "DDX_HOME": str(tmp_path), "DDX_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DDX_MLFLOW_PORT", "2")
    return tmp_path


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = run([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


@pytest.fixture
def kept(home: Path) -> Prediction:
    """A record of before there was a master key."""
    one = finished()
    with closing(SqliteJournal(home / "ddx_data", "main")) as journal:
        journal.accept(one, None).result()
    return one


def from_a_file(home: Path, name: str = "master.key", line: str = LINE) -> str:
    (home / name).write_text(line + "\n")
    (home / name).chmod(0o600)
    return f"master_key_file = {name!r}\n"


def from_a_variable(home: Path) -> str:
    os.environ["SECRET_OF_MINE"] = LINE
    return "master_key_env = 'SECRET_OF_MINE'\n"


def from_a_command(home: Path) -> str:
    return f"master_key_command = {json.dumps(a_kms(home))}\n"


@pytest.fixture(params=[from_a_file, from_a_variable, from_a_command])
def named(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The line of ddx.toml that names the master key."""
    monkeypatch.setenv("SECRET_OF_MINE", "")
    monkeypatch.delenv("SECRET_OF_MINE")
    line: str = request.param(home)
    (home / "ddx.toml").write_text(line)
    return line


def the_case(home: Path, id: PredictionId) -> str:
    loaded = load()
    with closing(SqliteJournalReader(loaded.data, "main", vaults.vault(loaded))) as reader:
        found = reader.find(id)
    assert found is not None
    return found.request.case


def test_an_installation_is_wrapped_and_goes_on(
    home: Path, kept: Prediction, named: str, cli: Cli
) -> None:
    code, out, _ = cli("keys", "master", "status", "--json")
    assert (code, json.loads(out)["ok"], json.loads(out)["wanted"]) == (1, False, None)
    plain = (home / "ddx_data" / "keys" / "main.keys").read_bytes()[64:96]

    assert cli("keys", "master", "wrap") == (0, "2 files wrapped\n", "")

    files = [path for path in (home / "ddx_data").rglob("*") if path.is_file()]
    assert not [path for path in files if plain in path.read_bytes()]
    code, out, _ = cli("keys", "master", "status", "--json")
    found = json.loads(out)
    assert (code, found["at_hand"]) == (0, found["wanted"])
    assert LINE not in out
    assert [one["file"] for one in found["files"]] == ["main.keys", "claims.key"]
    assert the_case(home, kept.id) == kept.request.case
    assert cli("predict", "Fever for 3 days.")[0] == 0
    with closing(KeyFile(home / "ddx_data" / "keys" / "main-cli-1.keys", writable=False)) as new:
        assert new.data_key == found["data_keys"][0]
    assert cli("verify", "--no-mlflow")[0] == 0
    assert cli("keys", "master", "wrap", "--json")[1] == '{\n "ok": true,\n "files": 0\n}\n'

    assert cli("keys", "master", "unwrap")[0] == 2  # nobody can be asked
    assert cli("keys", "master", "unwrap", "--yes")[0] == 0
    (home / "ddx.toml").write_text("")
    assert the_case(home, kept.id) == kept.request.case
    assert (home / "ddx_data" / "keys" / "main.keys").read_bytes()[64:96] == plain


def test_each_place_can_take_over_from_another(home: Path, kept: Prediction, cli: Cli) -> None:
    (home / "ddx.toml").write_text(from_a_file(home))
    assert cli("keys", "master", "wrap")[0] == 0
    was = (home / "ddx_data" / "keys" / "main.keys").read_bytes()
    os.environ["M"] = "cd" * 32
    command = a_kms(home)
    turns = [
        (("--to-command", shlex.join(command)), f"master_key_command = {json.dumps(command)}"),
        (("--to-env", "M"), "master_key_env = 'M'"),
        (("--to-file", str(home / "master.key")), "master_key_file = 'master.key'"),
    ]
    try:
        for option, line in turns:
            code, out, _ = cli("keys", "master", "rotate", *option)
            assert (code, "new master key alone" in out) == (0, True)
            # Only the small file changes: nothing here is measured by the number of records.
            assert (home / "ddx_data" / "keys" / "main.keys").read_bytes() == was
            assert cli("verify", "--no-mlflow")[0] != 0
            (home / "ddx.toml").write_text(line)
            assert cli("verify", "--no-mlflow")[0] == 0
            assert the_case(home, kept.id) == kept.request.case
    finally:
        del os.environ["M"]
    assert cli("keys", "master", "rotate", "--slots", "--json")[0] == 0
    assert (home / "ddx_data" / "keys" / "main.keys").read_bytes() != was
    assert the_case(home, kept.id) == kept.request.case


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("rotate",), 2),
        (("rotate", "--to-env", "A", "--to-file", "b"), 2),
        (("rotate", "--to-env", "NOT_SET_ANYWHERE"), EXIT_CODE["master_key_unavailable"]),
        (("rotate", "--slots"), EXIT_CODE["bad_settings"]),
        (("wrap",), EXIT_CODE["bad_settings"]),
    ],
)
def test_what_cannot_be_done_is_said(
    home: Path, kept: Prediction, cli: Cli, words: tuple[str, ...], code: int
) -> None:
    assert cli("keys", "master", *words)[0] == code


@pytest.mark.parametrize("words", [("serve",), ("up",), ("deliver", "--once"), ("verify",)])
def test_without_its_master_key_nothing_starts(
    home: Path, kept: Prediction, cli: Cli, words: tuple[str, ...]
) -> None:
    line = from_a_file(home)
    (home / "ddx.toml").write_text(line)
    assert cli("keys", "master", "wrap")[0] == 0
    # Processes of their own: what a process has opened stays open for it.
    for broken, code, says in (
        ("", "master_key_unavailable", "none is set"),
        ("master_key_file = 'gone.key'", "master_key_unavailable", "gone.key cannot be read"),
        (from_a_file(home, "wrong.key", "cd" * 32), "wrong_master_key", "the one at hand is"),
    ):
        (home / "ddx.toml").write_text(broken)
        done = subprocess.run(
            [sys.executable, "-m", "ddx", *words, *(["--no-mlflow"] if "verify" in words else [])],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == EXIT_CODE[code], done.stderr
        assert says in done.stderr
        assert "cd" * 32 not in done.stderr
    (home / "master.key").chmod(0o644)
    (home / "ddx.toml").write_text(line)
    code_, _, err = cli("serve")
    assert (code_, "open to others" in err) == (EXIT_CODE["master_key_unavailable"], True)


def ask(url: str, case: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/predict/v1",
        json.dumps({"case": case}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        found: dict[str, Any] = json.load(reply)
    return found


def test_a_running_server_keeps_its_keys_from_change_but_not_from_a_rotation(
    home: Path, kept: Prediction, cli: Cli
) -> None:
    key = home / "master.key"
    from_a_file(home)
    (home / "ddx.toml").write_text("max_backlog_age_s = 1e9")  # what is kept is of last year
    with running(home, DDX_MASTER_KEY_FILE=str(key)):
        (home / "ddx.toml").write_text("master_key_file = 'master.key'\nmax_backlog_age_s = 1e9")
        code, _, err = cli("keys", "master", "wrap")
        assert code == EXIT_CODE["keys_in_use"]
        assert f"process {os.getpid()} writes the journal 'main'" in err
        assert "Stop the server and the deliverer" in err
    assert cli("keys", "master", "wrap")[0] == 0
    from_a_file(home, "new.key", "cd" * 32)
    with running(home, DDX_MASTER_KEY_FILE=str(key)) as server:
        before = ask(server.url, "Fever before.")
        for words in (("rotate", "--slots"), ("unwrap", "--yes")):
            assert cli("keys", "master", *words)[0] == EXIT_CODE["keys_in_use"]
        assert cli("keys", "master", "rotate", "--to-file", home / "new.key")[0] == 0
        key.unlink()
        after = ask(server.url, "Fever after.")
        (home / "ddx.toml").write_text("master_key_file = 'new.key'")
        assert cli("erase", before["prediction_id"], "--yes", "--json")[0] in (0, 1)
        journal = server.server._journal
        assert journal is not None
        with pytest.raises(Erased):
            journal.find(before["prediction_id"])
        assert journal.find(after["prediction_id"]) is not None
    assert the_case(home, after["prediction_id"]) == "Fever after."


def test_doctor_says_how_the_keys_are_kept(home: Path, kept: Prediction, cli: Cli) -> None:
    def found() -> dict[str, Any]:
        checks = json.loads(cli("doctor", "--all", "--json")[1])["checks"]
        return next(one for one in checks if one["name"] == "master key")

    assert (found()["ok"], "docs/security.md" in found()["found"]) == (True, True)
    (home / "ddx.toml").write_text(from_a_file(home))
    assert (found()["ok"], "ddx keys master wrap" in found()["advice"]) == (False, True)
    assert cli("keys", "master", "wrap")[0] == 0
    assert (found()["ok"], "opens 2 files" in found()["found"]) == (True, True)
    (home / "ddx_data" / "keys" / "main.keys.old.part").write_bytes(b"left")
    assert "killed" in found()["found"]
    (home / "ddx.toml").write_text("")
    assert "none is set" in found()["found"]
    assert not doctor_all.master_key(
        source="file x", plain=0, wrapped=1, unfinished=1, trouble=None
    ).ok


def test_mlflow_does_not_get_the_master_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ddx.adapters import mlflow_server
    from ddx.wiring import launch

    monkeypatch.setenv("DDX_MASTER_KEY_ENV", "SECRET_OF_MINE")
    monkeypatch.setenv("SECRET_OF_MINE", LINE)
    without = [*launch._secret_variables(load())]
    made = mlflow_server.environment(
        dict(os.environ), db_uri="sqlite:///x", artifacts_path="x", without=without
    )
    assert LINE not in made.values()
    assert LINE in os.environ.values()


def test_a_restored_installation_takes_the_master_key_from_here_else_from_its_own_settings(
    tmp_path: Path,
) -> None:
    here = tmp_path / "here"
    restored = load({}, tmp_path)
    for toml, name, wanted in (
        ("master_key_file = 'm.key'", "master_key_file", str(here / "m.key")),
        ("master_key_command = ['./kms', '-k']", "master_key_command", (f"{here}/kms", "-k")),
        ("master_key_command = ['kms', './x']", "master_key_command", ("kms", "./x")),
        ("master_key_env = 'M'", "master_key_env", "M"),
    ):
        here.mkdir(exist_ok=True)
        (here / "ddx.toml").write_text(toml)
        found = vaults.with_master_of(restored, load({"M": LINE}, here))
        assert getattr(found, name) == wanted
        assert (found.home, found.environment["M"]) == (tmp_path, LINE)
    (tmp_path / "ddx.toml").write_text("master_key_env = 'M'")
    (tmp_path / "bare").mkdir()
    own = vaults.with_master_of(load({}, tmp_path), load({"M": LINE}, tmp_path / "bare"))
    assert (own.master_key_env, own.environment["M"]) == ("M", LINE)
