"""The master key from each of its places, what it wraps, and files that are replaced."""

from __future__ import annotations

import base64
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ends import eventually, gone
from tests.kms import a_kms

from ddx.adapters import vault
from ddx.adapters.vault import CommandMaster, FileVault, KeptMaster, from_file, from_text
from ddx.adapters.vault.vault import wrapped_by
from ddx.core.vault import WRAPPED, NoVault
from ddx.errors import JournalDamaged, MasterKeyUnavailable, WrongMasterKey

SECRET = bytes(range(32))


def a_vault(folder: Path, secret: bytes = SECRET) -> FileVault:
    return FileVault(folder, lambda: KeptMaster(secret))


class PowerCut(BaseException):
    """Like kill -9: no `except Exception` may stop it."""


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_what_a_master_key_wraps_it_opens_and_no_other_does(data_key: bytes, other: bytes) -> None:
    master = KeptMaster(SECRET)
    wrapped = master.wrap(data_key)
    assert master.unwrap(wrapped) == data_key
    assert data_key not in base64.b64decode(wrapped)
    if other != SECRET:
        assert KeptMaster(other).id != master.id
        with pytest.raises(WrongMasterKey):
            KeptMaster(other).unwrap(wrapped)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_what_a_data_key_wraps_it_opens_and_a_changed_bit_is_found(
    secret: bytes, data: st.DataObject
) -> None:
    key = vault.new_key()
    wrapped = key.wrap(secret)
    assert key.unwrap(wrapped) == secret
    place = data.draw(st.integers(0, len(wrapped) * 8 - 1))
    changed = bytearray(wrapped)
    changed[place // 8] ^= 1 << place % 8
    with pytest.raises(JournalDamaged):
        key.unwrap(bytes(changed))


@pytest.mark.parametrize("text", [SECRET.hex(), base64.b64encode(SECRET).decode()])
def test_a_master_key_is_one_line_of_base64_or_hex(tmp_path: Path, text: str) -> None:
    file = tmp_path / "master.key"
    file.write_text(f"{text}\n")
    file.chmod(0o600)
    assert from_file(file) == SECRET


@pytest.mark.parametrize("text", ["", "short", "00" * 31, "A" * 64 + "=", SECRET.hex() + "\n!"])
def test_what_is_no_master_key_is_said_without_showing_it(text: str) -> None:
    with pytest.raises(MasterKeyUnavailable) as told:
        from_text(text, "the file m.key")
    assert "the file m.key" in str(told.value)
    assert not text.strip() or text not in str(told.value)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o622, 0o601])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "master.key"
    file.write_text(SECRET.hex())
    file.chmod(mode)
    with pytest.raises(MasterKeyUnavailable, match="open to others"):
        from_file(file)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_a_file_of_somebody_else_may_be_for_ones_group(tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_text(SECRET.hex())
    os.chown(file, 12345, os.getegid())
    file.chmod(0o440)
    assert from_file(file) == SECRET
    file.chmod(0o444)
    with pytest.raises(MasterKeyUnavailable, match="open to others"):
        from_file(file)


def test_a_secret_is_bound_to_the_name_of_its_file(tmp_path: Path) -> None:
    box = a_vault(tmp_path)
    stored = box.seal("claims.key", SECRET)
    assert stored.startswith(WRAPPED)
    assert SECRET not in stored
    assert a_vault(tmp_path).open("claims.key", stored) == SECRET
    with pytest.raises(JournalDamaged):
        box.open("checkpoint.key", stored)
    assert box.open("old.key", b"plain") == b"plain"
    with pytest.raises(MasterKeyUnavailable):
        NoVault().open("claims.key", stored)


def test_two_that_come_first_at_once_use_one_data_key(tmp_path: Path) -> None:
    first, second = a_vault(tmp_path), a_vault(tmp_path)
    one = first.current()
    assert one is not None
    assert second.current() == one
    assert stat.S_IMODE((tmp_path / "master.json").stat().st_mode) == 0o600


def test_another_master_key_or_none_is_said_by_its_id(tmp_path: Path) -> None:
    a_vault(tmp_path).current()
    wanted, other = KeptMaster(SECRET).id, KeptMaster(bytes(32)).id
    with pytest.raises(WrongMasterKey, match=f"{wanted}.*{other}"):
        a_vault(tmp_path, bytes(32)).check()
    for ask in (FileVault.check, FileVault.current):
        with pytest.raises(MasterKeyUnavailable, match=wanted):
            ask(FileVault(tmp_path, None))


def test_a_damaged_file_of_data_keys_is_damage_and_no_wrong_key(tmp_path: Path) -> None:
    a_vault(tmp_path).current()
    file = tmp_path / "master.json"
    whole = file.read_text()
    wrapped = whole.split('"wrapped": "')[1][:10]
    swapped = wrapped[::-1] if wrapped != wrapped[::-1] else "A" * 10
    for damaged in (
        whole[:-9],
        whole.replace("ddx-master/1", "x"),
        whole.replace(wrapped, swapped),
    ):
        file.write_text(damaged)
        with pytest.raises(JournalDamaged):
            a_vault(tmp_path).check()


# --- a command ----------------------------------------------------------------------------


def a_command(folder: Path, script: str, timeout_s: float = 30) -> CommandMaster:
    file = folder / "kms.py"
    file.write_text(script)
    return CommandMaster(
        [sys.executable, str(file), "x; touch pwned $(touch pwned)"],
        folder=folder,
        environment=os.environ,
        timeout_s=timeout_s,
    )


def test_a_command_wraps_and_opens_and_the_key_stays_with_it(tmp_path: Path) -> None:
    master = CommandMaster(a_kms(tmp_path), folder=tmp_path, environment=os.environ)
    wrapped = master.wrap(SECRET)
    assert base64.b64encode(SECRET).decode() not in wrapped
    assert master.unwrap(wrapped) == SECRET
    asked = (tmp_path / "asked").read_text().split()
    assert master.unwrap(wrapped) == SECRET
    assert (tmp_path / "asked").read_text().split() == asked == ["wrap", "unwrap"]


def test_words_reach_the_command_as_they_are_for_no_shell_reads_them(tmp_path: Path) -> None:
    master = a_command(tmp_path, "import sys; print('|'.join(sys.argv[1:]))")
    assert master.wrap(SECRET) == "x; touch pwned $(touch pwned)|wrap"
    assert not (tmp_path / "pwned").exists()


TALKS = (
    "import sys; sys.stderr.write('token s3cr3t\\n' + 'x' * 500 + 'no such key\\n'); sys.exit(3)"
)


def test_of_what_a_command_complains_the_end_is_shown(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyUnavailable) as told:
        a_command(tmp_path, TALKS).wrap(SECRET)
    assert "ended with 3" in str(told.value)
    assert str(told.value).endswith("no such key")
    assert "s3cr3t" not in str(told.value)
    assert len(str(told.value)) < 250


@pytest.mark.parametrize("prints", ["", "print('two'); print('lines')", "print('x' * 70_000)"])
def test_what_a_command_prints_must_be_one_line(tmp_path: Path, prints: str) -> None:
    with pytest.raises(MasterKeyUnavailable):
        a_command(tmp_path, prints).wrap(SECRET)
    with pytest.raises((MasterKeyUnavailable, WrongMasterKey)):
        a_command(tmp_path, prints).unwrap("x")


def test_a_command_that_does_not_answer_is_ended_with_all_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = (
        "import subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(MasterKeyUnavailable, match="no answer within 2 s"):
        a_command(tmp_path, script, timeout_s=2).wrap(SECRET)
    assert eventually(lambda: gone(int(pid.read_text())))


def test_a_command_that_is_not_there_is_said(tmp_path: Path) -> None:
    master = CommandMaster([str(tmp_path / "no")], folder=tmp_path, environment={})
    with pytest.raises(MasterKeyUnavailable, match="cannot be run"):
        master.wrap(SECRET)


def test_a_service_that_does_not_open_what_it_wraps_wraps_nothing(tmp_path: Path) -> None:
    forgetful = a_command(tmp_path, "import base64; print(base64.b64encode(bytes(32)).decode())")
    key = vault.new_key()
    with pytest.raises(WrongMasterKey):
        wrapped_by(forgetful, key.id, [key])


# --- files that are replaced --------------------------------------------------------------


def put(content: bytes) -> Callable[[IO[bytes]], None]:
    def write(file: IO[bytes]) -> None:
        file.write(content)

    return write


@pytest.mark.parametrize("fatal", ["written", "linked", "replaced"])
def test_a_file_is_whole_whenever_its_replacement_is_cut(tmp_path: Path, fatal: str) -> None:
    file = tmp_path / "main.keys"
    file.write_bytes(b"old content")
    seen = os.open(file, os.O_RDONLY)

    def at(moment: str) -> None:
        if moment == fatal:
            raise PowerCut

    with pytest.raises(PowerCut):
        vault.replace(file, put(b"new"), at)
    assert file.read_bytes() == (b"new" if fatal == "replaced" else b"old content")
    assert vault.leftovers(tmp_path)

    vault.replace(file, put(b"new"), lambda _: None)

    assert file.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["main.keys"]
    assert os.pread(seen, 99, 0) == bytes(11)  # the old bytes, wherever somebody has them open
    os.close(seen)
