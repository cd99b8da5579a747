"""A change of the master key that dies at any moment leaves every record readable."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.make import a_request, finished

from ddx import settings
from ddx.adapters import vault
from ddx.adapters.batch_files import BatchFiles
from ddx.adapters.ed25519 import Ed25519Signer
from ddx.adapters.sqlite_journal import KeyFile, SqliteJournal
from ddx.core.record import Prediction
from ddx.errors import WrongMasterKey
from ddx.settings import Settings
from ddx.wiring import master_keys, vaults
from ddx.wiring.replaying import find

ROOT = Path(__file__).parents[2]
OLD, NEW = "11" * 32, "22" * 32
FILES = 5
"""Of keys: a journal's, of trackers, of checkpoints, two of a batch."""
MOMENTS = ("written", "linked", "replaced")
WRAP = [("ring", 1), *((name, n) for name in MOMENTS for n in (1, FILES))]
SLOTS = [(name, n) for name in MOMENTS for n in (1, 2, FILES + 1, FILES + 2)]


def with_key(home: Path, line: str) -> Settings:
    return settings.load({"DDX_MASTER_KEY_ENV": "M", "M": line}, home)


@pytest.fixture
def kept(tmp_path: Path) -> list[Prediction]:
    """An installation without a master key: two predictions and a batch that waits."""
    loaded = settings.load({}, tmp_path)
    made = [finished(), finished()]
    with closing(SqliteJournal(loaded.data, "main")) as journal:
        for one in made:
            journal.accept(one, None).result()
    Ed25519Signer(loaded.data / "keys")
    BatchFiles(loaded.data, "main").take("caller", "key", [a_request()], made[0].received_at)
    return made


def plain_secrets(data: Path) -> list[bytes]:
    """Return what must stand in no file once all is wrapped."""
    with closing(KeyFile(data / "keys" / "main.keys", writable=False)) as keys:
        found = [keys.get(number) for number in range(keys.count())]
    small = [path for path in (data / "keys").rglob("*") if path.suffix == ".key"]
    return found + [path.read_bytes() for path in (*small, data / "keys" / "batches" / "secret")]


def dies(home: Path, moment: str, times: int, *words: str) -> None:
    environment = {**os.environ, "DDX_HOME": str(home), "DDX_MASTER_KEY_ENV": "M", "M": OLD}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.dying", moment, str(times), "keys", "master", *words],
        cwd=ROOT,
        env={**environment, "N": NEW},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def assert_all_opens(loaded: Settings, made: list[Prediction]) -> None:
    for one in made:
        assert find(loaded, one.id) == one
    box = vaults.vault(loaded)
    (batch,) = BatchFiles(loaded.data, "main", box).open_ids()
    assert list(BatchFiles(loaded.data, "main", box).cases(batch)) == [a_request()]
    Ed25519Signer(loaded.data / "keys", box)


def assert_nothing_is_left(data: Path, secrets: list[bytes]) -> None:
    assert vault.leftovers(data) == []
    written = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    assert [secret for secret in secrets if secret in written] == []


@pytest.mark.parametrize(("moment", "times"), WRAP)
def test_a_wrapping_that_dies_goes_on(
    tmp_path: Path, kept: list[Prediction], moment: str, times: int
) -> None:
    loaded = with_key(tmp_path, OLD)
    secrets = plain_secrets(loaded.data)
    dies(tmp_path, moment, times, "wrap")
    assert_all_opens(loaded, kept)
    master_keys.wrap(loaded)
    assert_all_opens(loaded, kept)
    assert_nothing_is_left(loaded.data, secrets)
    assert len(master_keys.status(loaded).files) == FILES
    assert master_keys.status(loaded).plain == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_rotation_that_dies_leaves_one_master_key_that_opens(
    tmp_path: Path, kept: list[Prediction], moment: str
) -> None:
    old, new = with_key(tmp_path, OLD), with_key(tmp_path, NEW)
    master_keys.wrap(old)
    was = (old.data / "keys" / "master.json").read_bytes()
    dies(tmp_path, moment, 1, "rotate", "--to-env", "N")
    opens, other = (new, old) if moment == "replaced" else (old, new)
    assert_all_opens(opens, kept)
    with pytest.raises(WrongMasterKey):
        vaults.check(other)

    master_keys.rotate(old, new)

    assert_all_opens(new, kept)
    with pytest.raises(WrongMasterKey):
        vaults.check(old)
    assert_nothing_is_left(old.data, [was])


@pytest.mark.parametrize(("moment", "times"), SLOTS)
def test_a_new_data_key_whose_making_dies_is_made_after_all(
    tmp_path: Path, kept: list[Prediction], moment: str, times: int
) -> None:
    old, new = with_key(tmp_path, OLD), with_key(tmp_path, NEW)
    master_keys.wrap(old)
    (before,) = master_keys.status(old).data_keys
    dies(tmp_path, moment, times, "rotate", "--slots", "--to-env", "N")
    opens = old if times == 1 and moment != "replaced" else new
    assert_all_opens(opens, kept)

    master_keys.rotate(old, new, slots=True)

    assert_all_opens(new, kept)
    found = master_keys.status(new)
    assert found.trouble is None
    (after,) = found.data_keys
    assert after != before
    assert {one.data_key for one in found.files} == {after}
    assert_nothing_is_left(old.data, [before.encode()])


@pytest.mark.parametrize(("moment", "times"), [(name, n) for name in MOMENTS for n in (1, FILES)])
def test_an_unwrapping_that_dies_goes_on(
    tmp_path: Path, kept: list[Prediction], moment: str, times: int
) -> None:
    loaded = with_key(tmp_path, OLD)
    master_keys.wrap(loaded)
    dies(tmp_path, moment, times, "unwrap", "--yes")
    assert_all_opens(loaded, kept)
    master_keys.unwrap(loaded)
    without = settings.load({}, tmp_path)
    assert_all_opens(without, kept)
    assert vault.leftovers(loaded.data) == []
    assert master_keys.status(without).data_keys == []


def test_every_moment_has_its_death() -> None:
    """The moments that the code names are the ones that are tested."""
    sources = [ROOT / "src/ddx/wiring/master_keys.py", ROOT / "src/ddx/adapters/vault/replacing.py"]
    found = re.findall(r' at\("([a-z]+)"\)', "".join(one.read_text() for one in sources))
    assert {*found} == {"ring", *MOMENTS}
