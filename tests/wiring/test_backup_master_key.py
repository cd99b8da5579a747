"""A backup of wrapped keys is of no use without the master key, and with it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.make import a_feedback, a_prediction, a_request, finished
from tests.tracking_server import Tracking, a_server
from tests.wiring.test_tracing import at

from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.cli import run
from ddx.cli.exits import EXIT_CODE
from ddx.core.record import Prediction
from ddx.errors import Erased, MasterKeyUnavailable
from ddx.settings import Settings, load
from ddx.wiring import restoring, vaults
from ddx.wiring.delivering import deliver

pytest.importorskip("mlflow", reason="needs the extra `tracking`")
CANARY = "zebrawood-9214"
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with a_server(tmp_path_factory.mktemp("mlflow")) as running:
        yield running


@pytest.fixture
def home(tmp_path: Path, tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation whose master key is a file outside of it."""
    folder, key = tmp_path / "home", tmp_path / "elsewhere" / "master.key"
    for one in (folder, key.parent):
        one.mkdir()
    key.write_text("ab" * 32)
    key.chmod(0o600)
    at(folder, tracking)
    (folder / "ddx.toml").write_text(f"master_key_file = {str(key)!r}\n")
    monkeypatch.setenv("DDX_HOME", str(folder))
    monkeypatch.setenv("DDX_MLFLOW_PORT", tracking.uri.rpartition(":")[2])
    return load()


@pytest.fixture
def cli(home: Settings, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = run([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


def told() -> Prediction:
    return finished(a_prediction(request=a_request(case=f"Fell from a {CANARY}.")))


def test_it_is_delivered_erased_backed_up_and_restored_under_the_master_key(
    home: Settings, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [told() for _ in range(3)]
    with closing(SqliteJournal(home.data, "main", vaults.vault(home))) as journal:
        for one in made:
            journal.accept(one, None).result()
        journal.add_feedback(made[1].id, a_feedback(true_diagnosis=CANARY)).result()
    assert deliver(home, once=True)["left"] == 0
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    assert cli("backup", first)[0] == 0
    code, out, _ = cli("restore", first, "--drill", "--json")
    assert (code, json.loads(out)["predictions"]) == (0, 3)
    assert cli("erase", made[0].id, "--yes")[0] == 0
    assert cli("keys", "master", "rotate", "--slots")[0] == 0
    assert cli("backup", second)[0] == 0

    # On another machine, where no settings name the key.
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("DDX_HOME", str(tmp_path / "empty"))
    key = tmp_path / "elsewhere" / "master.key"
    away = key.rename(tmp_path / "elsewhere" / "hidden")
    new, keys = tmp_path / "new", f"{second}.keys"
    code, _, err = cli("restore", first, "--into", new, "--keys", keys)
    assert (code, str(key) in err) == (EXIT_CODE["master_key_unavailable"], True)
    assert list(new.iterdir()) == []
    (tmp_path / "wrong").write_text("cd" * 32)
    (tmp_path / "wrong").chmod(0o600)
    wrong = ("--master-key-file", tmp_path / "wrong")
    code, _, err = cli("restore", first, "--into", new, "--keys", keys, *wrong)
    assert (code, CANARY in err) == (EXIT_CODE["wrong_master_key"], False)
    right = ("--master-key-file", away)
    code, out, _ = cli("restore", first, "--into", new, "--keys", keys, *right, "--json")
    found = json.loads(out)
    assert (code, found["predictions"], found["erased"]) == (0, 2, 1)
    box = vaults.vault(vaults.with_file(load({}, new), away))
    with closing(SqliteJournalReader(new / "ddx_data", "main", box)) as reader:
        with pytest.raises(Erased):
            reader.find(made[0].id)
        assert reader.find(made[1].id) == made[1]
    assert cli("restore", second, "--drill", *right)[0] == 0


def test_a_backup_of_before_opens_by_newer_wrapped_keys_and_gives_nothing_erased(
    home: Settings, cli: Cli, tmp_path: Path
) -> None:
    toml = (home.home / "ddx.toml").read_text()
    (home.home / "ddx.toml").write_text("")
    erased, other = told(), told()
    with closing(SqliteJournal(home.data, "main")) as journal:
        for one in (erased, other):
            journal.accept(one, None).result()
    old, new = tmp_path / "old.tar", tmp_path / "new.tar"
    assert cli("backup", old)[0] == 0
    (home.home / "ddx.toml").write_text(toml)
    assert cli("keys", "master", "wrap")[0] == 0
    assert cli("erase", erased.id, "--yes")[0] == 0
    assert cli("backup", new)[0] == 0

    plain_key = Path(f"{old}.keys").read_bytes()
    assert b"ddx-keys-1" in plain_key
    assert b"ddx-keys-1" not in Path(f"{new}.keys").read_bytes()
    assert b"changing.lock" not in plain_key
    with pytest.raises(MasterKeyUnavailable):
        restoring.drill([str(old)], f"{new}.keys")
    found = restoring.restore([str(old)], tmp_path / "back", f"{new}.keys", None, load())
    assert (found.predictions, found.erased) == (1, 1)
    box = vaults.vault(vaults.with_master_of(load({}, tmp_path / "back"), load()))
    with (
        closing(SqliteJournalReader(tmp_path / "back" / "ddx_data", "main", box)) as reader,
        pytest.raises(Erased),
    ):
        reader.find(erased.id)
