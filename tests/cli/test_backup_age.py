"""Backups that are encrypted: nothing of them is plain, and nobody else's identity opens them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from tests.web.conftest import ENVIRONMENT

from ddx.cli import run
from ddx.cli.exits import EXIT_CODE

pyrage = pytest.importorskip("pyrage", reason="needs the extra `age`")
CASE = "Fever for 3 days and a petechial rash."


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "home"
    found.mkdir()
    for name, value in {**ENVIRONMENT, "DDX_HOME": str(found)}.items():
        monkeypatch.setenv(name, value)
    assert run(["predict", CASE, "--model", "instant"]) == 0
    return found


def identity(folder: Path, name: str = "identity.txt") -> tuple[Path, str]:
    made = pyrage.x25519.Identity.generate()
    (folder / name).write_text(f"# created: today\n{made}\n")
    return folder / name, str(made.to_public())


@pytest.mark.parametrize("name", ["one.tar.age", "one.tar.gz.age"])
def test_both_files_are_opened_by_the_identity_alone(
    home: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home.exists()
    (mine, recipient), (other, _) = identity(tmp_path), identity(tmp_path, "other.txt")
    path = tmp_path / name
    assert run(["backup", str(path), "--recipient", recipient]) == 0
    for file in (path, path.with_name(f"{name}.keys")):
        assert file.read_bytes().startswith(b"age-encryption.org/v1\n")
        assert b"journals" not in file.read_bytes()
        with pytest.raises(tarfile.TarError):
            tarfile.open(file).close()
    capsys.readouterr()
    assert run(["backup", "verify", str(path)]) == EXIT_CODE["bad_backup"]
    assert "--identity" in capsys.readouterr().err
    assert run(["backup", "verify", str(path), "--identity", str(other)]) == EXIT_CODE["bad_backup"]
    assert "another identity" in capsys.readouterr().err
    assert run(["backup", "verify", str(path), "--identity", str(mine)]) == 0
    capsys.readouterr()
    assert run(["restore", str(path), "--drill", "--identity", str(mine), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"] == 1


def test_the_setting_encrypts_every_backup_and_several_can_open_it(
    home: Path, tmp_path: Path
) -> None:
    both = [identity(tmp_path, f"{name}.txt") for name in ("here", "vault")]
    (home / "ddx.toml").write_text(
        f'backup_recipients = "{", ".join(recipient for _, recipient in both)}"\n'
    )
    path = tmp_path / "nightly.tar"
    assert run(["backup", str(path)]) == 0
    for file, _ in both:
        assert run(["backup", "verify", str(path), "--identity", str(file)]) == 0


def test_a_damaged_or_cut_file_is_found(home: Path, tmp_path: Path) -> None:
    assert home.exists()
    mine, recipient = identity(tmp_path)
    path = tmp_path / "one.tar.age"
    assert run(["backup", str(path), "--recipient", recipient]) == 0
    whole = path.read_bytes()
    asked = ["backup", "verify", str(path), "--identity", str(mine)]
    for damaged in (whole[:-500], whole[: len(whole) // 2], whole[:-200] + b"x" + whole[-199:]):
        path.write_bytes(damaged)
        assert run(asked) == EXIT_CODE["bad_backup"]


@pytest.mark.parametrize("wrong", ["age1nobody", "ssh-rsa x", "AGE-SECRET-KEY-1X"])
def test_what_is_no_recipient_is_said_and_no_backup_is_left(
    home: Path, tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert home.exists()
    path = tmp_path / "one.tar"
    assert run(["backup", str(path), "--recipient", wrong]) == EXIT_CODE["output_refused"]
    assert "no recipient" in capsys.readouterr().err
    assert not list(tmp_path.glob("*one.tar*"))


def test_a_file_without_an_identity_is_said(home: Path, tmp_path: Path) -> None:
    assert home.exists()
    _, recipient = identity(tmp_path)
    path = tmp_path / "one.tar"
    assert run(["backup", str(path), "--recipient", recipient]) == 0
    (tmp_path / "empty.txt").write_text("nothing\n")
    for name in ("empty.txt", "absent.txt"):
        asked = ["backup", "verify", str(path), "--identity", str(tmp_path / name)]
        assert run(asked) == EXIT_CODE["bad_backup"]
