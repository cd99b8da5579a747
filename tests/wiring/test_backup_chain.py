"""An increment holds what came after the backup before; a chain of them restores as one would."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.backups import CANARY, Cli, told
from tests.make import a_feedback
from tests.tracking_server import Tracking

from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader
from ddx.cli.exits import EXIT_CODE
from ddx.core.record import Prediction, PredictionId
from ddx.errors import BadBackup, BrokenChain, Erased, OutputRefused
from ddx.ports import Claim
from ddx.settings import Settings
from ddx.wiring import restoring
from ddx.wiring.backing_up import Made, back_up
from ddx.wiring.delivering import deliver
from ddx.wiring.verifying import verify

pytest.importorskip("mlflow", reason="needs the extra `tracking`")
Home = tuple[Settings, list[Prediction]]


def written(loaded: Settings, count: int = 1, claim: Claim | None = None) -> list[Prediction]:
    """Write finished predictions, as a server does, and deliver them."""
    made = [told() for _ in range(count)]
    with closing(SqliteJournal(loaded.data, "main")) as journal:
        for one in made:
            journal.accept(one, claim).result()
    deliver(loaded, once=True)
    return made


def a_chain(loaded: Settings, folder: Path, increments: int = 2) -> list[Made]:
    """A whole backup and its increments, with writes before each."""
    made = [back_up(loaded, str(folder / "whole.tar"))]
    for number in range(1, increments + 1):
        written(loaded)
        made.append(back_up(loaded, str(folder / f"inc{number}.tar"), since=made[-1].path))
    return made


def equal(home: Path) -> bool:
    """Whether `ddx verify` of a restored installation finds no difference."""
    return verify(restoring._settings_of(home), mlflow=True, checkpoints=(), public_key=None).ok


def names_in(path: str) -> set[str]:
    with tarfile.open(path) as tar:
        return {name for name in tar.getnames() if name != "manifest.json"}


def taken_out(path: str, name: str, folder: Path) -> Path:
    with tarfile.open(path) as tar:
        content = tar.extractfile(name)
        assert content is not None
        (folder / Path(name).name).write_bytes(content.read())
    return folder / Path(name).name


def test_a_chain_restores_to_all_that_was_there_when_the_last_was_made(
    home: Home, tmp_path: Path, tracking: Tracking, cli: Cli
) -> None:
    loaded, first = home
    other = Path(tracking.artifacts_path) / "77"
    (other / "stays.txt").write_text("the same")
    (other / "goes.txt").write_text("for a while")
    (loaded.data / "evaluations").mkdir()
    (loaded.data / "evaluations" / "one.json").write_text("{}")
    whole = back_up(loaded, str(tmp_path / "whole.tar"))
    claim = Claim(tracker=f"visit {CANARY}", body=b"b", scope="")
    second = written(loaded, 2)
    (claimed,) = written(loaded, 1, claim)
    with closing(SqliteJournal(loaded.data, "main")) as journal:
        journal.add_feedback(first[1].id, a_feedback(true_diagnosis="Plague")).result()
    (other / "report.txt").write_text("other figures")
    one = back_up(loaded, str(tmp_path / "one.tar"), since=whole.path)
    (third,) = written(loaded, 1, replace(claim, replaces=claimed.id))
    (other / "goes.txt").unlink()
    (other / "comes.txt").write_text("late")
    assert cli(loaded, "erase", second[0].id, "--yes")[0] == 0
    two = back_up(loaded, str(tmp_path / "two.tar"), since=one.path)

    found = restoring.restore([whole.path, one.path, two.path], tmp_path / "new")

    assert found.ok, found.differences
    assert (found.backups, found.predictions, found.erased) == (3, 6, 1)
    assert found.events == sum(two.manifest.events.values())
    assert equal(tmp_path / "new")
    data = tmp_path / "new" / "ddx_data"
    with closing(SqliteJournalReader(data, "main")) as reader:
        kept = [*first, second[1], claimed, third]
        assert list(reader.predictions([record.id for record in kept])) == kept
        assert [said.true_diagnosis for said in reader.feedback_of(first[1].id)] == ["Plague"]
        with pytest.raises(Erased):
            reader.find(second[0].id)
    with closing(SqliteJournal(data, "main")) as journal:
        held = journal.holder(claim)
        assert held is not None
        assert (held.by, held.same_body) == (third.id, True)
        # It goes on as a journal does.
        assert journal.last_seq() == found.events - 1  # `ddx erase` has a journal of its own
        journal.accept(told(), None).result()
        assert journal.last_seq() == found.events + 1
    files = tmp_path / "new" / "mlflow_data" / "artifacts" / "77"
    assert {file.name: file.read_text() for file in files.iterdir()} == {
        "report.txt": "other figures",
        "stays.txt": "the same",
        "comes.txt": "late",
    }
    assert (data / "evaluations" / "one.json").read_text() == "{}"
    assert CANARY.encode() not in Path(one.path).read_bytes()


def test_an_increment_holds_later_events_and_changed_files_alone(
    home: Home, tmp_path: Path, tracking: Tracking
) -> None:
    loaded, first = home
    whole = back_up(loaded, str(tmp_path / "whole.tar"))
    last = whole.manifest.journals["main"]
    (later,) = written(loaded)
    other = Path(tracking.artifacts_path) / "77" / "new.txt"
    other.write_text("new")
    one = back_up(loaded, str(tmp_path / "one.tar"), since=whole.path)

    assert names_in(one.path) == {"later/main.db", "artifacts/77/new.txt"}
    assert set(one.manifest.kept) == {
        "mlflow.db",
        "artifacts/77/report.txt",
        "settings/mlflow_server_config.py",
    }
    with closing(sqlite3.connect(taken_out(one.path, "later/main.db", tmp_path))) as db:
        rows = db.execute("select seq, prediction_id from event order by seq").fetchall()
    assert rows == [(last.seq + 1, later.id), (last.seq + 2, later.id)]
    # The new run follows from the journal: what is kept of MLflow's database is as it was.
    with closing(sqlite3.connect(taken_out(whole.path, "mlflow.db", tmp_path))) as db:
        assert db.execute("select count(*) from runs").fetchone() == (0,)
        assert db.execute("select count(*) from metrics").fetchone() == (0,)
    assert whole.manifest.chain == ()
    digest = hashlib.sha256(taken_out(whole.path, "manifest.json", tmp_path).read_bytes())
    assert [link.sha256 for link in one.manifest.chain] == [digest.hexdigest()]
    assert len(first) == 3

    # Nothing since: no journal, no file.
    two = back_up(loaded, str(tmp_path / "two.tar"), since=one.path)
    assert names_in(two.path) == set()
    assert restoring.drill([whole.path, one.path, two.path]).predictions == 4


def test_increments_are_made_while_predictions_are_written(home: Home, tmp_path: Path) -> None:
    loaded, _ = home
    stop = threading.Event()
    kept: list[Prediction] = []

    def write() -> None:
        with closing(SqliteJournal(loaded.data, "main")) as journal:
            while not stop.is_set():
                kept.append(told())
                journal.accept(kept[-1], None).result()

    def wait_for(count: int) -> None:
        while len(kept) < count:
            assert thread.is_alive()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_for(10)
        made = [back_up(loaded, str(tmp_path / "whole.tar"))]
        for number in range(3):
            wait_for(len(kept) + 10)
            made.append(back_up(loaded, str(tmp_path / f"{number}.tar"), since=made[-1].path))
    finally:
        stop.set()
        thread.join()
    found = restoring.restore([one.path for one in made], tmp_path / "new")
    assert found.ok, found.differences
    assert found.events == sum(made[-1].manifest.events.values())
    assert 3 + 40 <= found.predictions <= 3 + len(kept)
    assert not list(tmp_path.glob(".ddx-*"))


def test_what_people_put_into_mlflow_comes_back_from_an_increment(
    home: Home, tmp_path: Path, tracking: Tracking, cli: Cli
) -> None:
    from mlflow import MlflowClient

    loaded, first = home
    whole = back_up(loaded, str(tmp_path / "whole.tar"))
    client = MlflowClient(loaded.db_uri, loaded.db_uri)

    def run_of(id: PredictionId) -> str:
        return id.replace("-", "")

    tagged, noted, measured, modelled, gone, plain = written(loaded, 6)
    client.set_tag(run_of(tagged.id), "reviewed_by", "us")
    client.set_tag(run_of(noted.id), "mlflow.note.content", "Odd: look again.")
    client.log_metric(run_of(measured.id), "kappa", 0.5)
    client.log_param(run_of(measured.id), "reviewer", "a")
    client.create_registered_model("theirs")
    client.create_model_version("theirs", "s3://theirs/model", run_of(modelled.id))
    theirs = client.create_experiment("theirs", artifact_location="s3://theirs/2")
    client.log_metric(client.create_run(theirs).info.run_id, "auc", 1 / 3)
    assert cli(loaded, "erase", gone.id, "--yes")[0] == 0
    one = back_up(loaded, str(tmp_path / "one.tar"), since=whole.path)
    with closing(sqlite3.connect(taken_out(one.path, "mlflow.db", tmp_path))) as db:
        runs = {row[0] for row in db.execute("select name from runs where experiment_id <> 0")}
        assert CANARY not in "".join(row[0] for row in db.execute("select value from tags"))
    assert {tagged.id, noted.id, measured.id, modelled.id, gone.id} <= runs
    assert not {plain.id, first[0].id} & runs

    found = restoring.restore([whole.path, one.path], tmp_path / "new")

    # What `ddx verify` says of the old one, too: somebody gave a run another param and metric.
    assert [line.rpartition(" ")[0].split()[-1] for line in found.differences] == [
        "reviewer:",
        "kappa:",
    ]
    store = f"sqlite:///{tmp_path}/new/mlflow_data/mlflow.db"
    restored = MlflowClient(store, store)
    assert restored.get_run(run_of(tagged.id)).data.tags["reviewed_by"] == "us"
    assert restored.get_run(run_of(tagged.id)).data.metrics["success"] == 1
    reviewed = restored.get_run(run_of(measured.id)).data
    assert (reviewed.metrics["kappa"], reviewed.params["reviewer"]) == (0.5, "a")
    assert restored.get_model_version("theirs", "1").run_id == run_of(modelled.id)
    note = restored.get_run(run_of(noted.id)).data.tags["mlflow.note.content"]
    assert note == "Odd: look again."
    assert "ddx.erased" in restored.get_run(run_of(gone.id)).data.tags
    assert restored.get_run(run_of(plain.id)).data.params["model_name"] == "knowledge"
    experiment = restored.get_experiment_by_name("theirs")
    (auc,) = restored.search_runs([experiment.experiment_id])
    assert auc.data.metrics == {"auc": 1 / 3}


def test_the_last_alone_is_named_and_the_others_are_found_beside_it(
    home: Home, tmp_path: Path, cli: Cli
) -> None:
    loaded, _ = home
    made = a_chain(loaded, tmp_path)
    assert restoring.drill([made[2].path]).predictions == 5
    code, out, _ = cli(loaded, "backup", "verify", made[2].path, "--json")
    assert (code, json.loads(out)["backups"]) == (0, [one.path for one in made])

    moved = tmp_path / "elsewhere" / "inc1.tar"
    moved.parent.mkdir()
    Path(made[1].path).rename(moved)
    code, _, err = cli(loaded, "restore", made[2].path, "--drill")
    assert code == EXIT_CODE["bad_backup"]
    assert "inc2.tar is an increment, and inc1.tar is not beside it" in err
    assert cli(loaded, "restore", made[0].path, moved, made[2].path, "--drill")[0] == 0


def test_a_gap_a_wrong_order_and_another_chain_are_refused(
    home: Home, tmp_path: Path, cli: Cli
) -> None:
    loaded, _ = home
    whole, one, two = (made.path for made in a_chain(loaded, tmp_path))
    written(loaded)
    branch = back_up(loaded, str(tmp_path / "branch.tar"), since=whole).path
    again = back_up(loaded, str(tmp_path / "again.tar")).path
    keys = f"{two}.keys"
    for named, why in (
        ([whole, two], "inc1.tar is missing: inc2.tar comes after whole.tar, inc1.tar"),
        ([one, two], "whole.tar is missing"),
        ([whole, two, one], "the order is wrong: it is whole.tar, inc1.tar, inc2.tar"),
        ([one, whole], "whole.tar is a whole backup: nothing comes before it"),
        ([whole, one, one], "a backup is named twice"),
        ([whole, one, branch], "branch.tar is of another chain"),
        ([again, one], "whole.tar is missing"),
    ):
        with pytest.raises(BrokenChain, match=why):
            restoring.restore(named, tmp_path / "new", keys)
        assert not list((tmp_path / "new").iterdir())
        code, _, err = cli(loaded, "backup", "verify", *named, "--keys", keys)
        assert code == EXIT_CODE["bad_backup"]
        assert why in err
        assert "Name the whole backup first" in err


def test_another_installations_backup_is_refused(home: Home, tmp_path: Path, cli: Cli) -> None:
    loaded, _ = home
    other = replace(loaded, home=tmp_path / "other")
    other.home.mkdir()
    written(other)
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
    mine = a_chain(loaded, tmp_path / "mine", 1)
    theirs = a_chain(other, tmp_path / "theirs", 1)
    with pytest.raises(BrokenChain, match="another installation"):
        restoring.restore([mine[0].path, theirs[1].path], tmp_path / "new")
    with pytest.raises(OutputRefused, match="another installation"):
        back_up(loaded, str(tmp_path / "two.tar"), since=theirs[0].path)
    assert not list(tmp_path.glob("*two.tar*"))

    # The same one, restored from an older backup, goes another way from there.
    restoring.restore([mine[0].path], tmp_path / "new")
    back = restoring._settings_of(tmp_path / "new")
    written(back, 2)
    with pytest.raises(OutputRefused, match="restored from an older backup since"):
        back_up(back, str(tmp_path / "two.tar"), since=mine[1].path)
    assert back_up(back, str(tmp_path / "two.tar"), since=mine[0].path).manifest.chain

    shutil.rmtree(loaded.data)
    written(loaded)
    with pytest.raises(OutputRefused, match="make a whole one"):
        back_up(loaded, str(tmp_path / "three.tar"), since=mine[1].path)


def test_nothing_that_was_erased_comes_back_with_whatever_keys(
    home: Home, tmp_path: Path, cli: Cli
) -> None:
    loaded, first = home
    before = back_up(loaded, str(tmp_path / "before.tar"))
    assert cli(loaded, "erase", first[2].id, "--yes")[0] == 0
    whole = back_up(loaded, str(tmp_path / "whole.tar"))
    assert cli(loaded, "erase", first[0].id, "--yes")[0] == 0
    one = back_up(loaded, str(tmp_path / "one.tar"), since=whole.path)
    (last,) = written(loaded)
    two = back_up(loaded, str(tmp_path / "two.tar"), since=one.path)
    assert cli(loaded, "erase", last.id, "--yes")[0] == 0
    newest = back_up(loaded, str(tmp_path / "three.tar"), since=two.path).keys

    def erased(name: str, named: list[str], keys: str | None) -> set[PredictionId]:
        assert restoring.restore(named, tmp_path / name, keys).ok
        with closing(SqliteJournalReader(tmp_path / name / "ddx_data", "main")) as reader:
            gone = set()
            for id in (first[0].id, last.id):
                try:
                    reader.find(id)
                except Erased:
                    gone.add(id)
        return gone

    chain = [whole.path, one.path, two.path]
    # Those of the last of the chain are taken by themselves, and know what the first did not.
    assert erased("a", chain, None) == {first[0].id}
    # Those of a later backup know more.
    assert erased("b", chain, newest) == {first[0].id, last.id}
    # With older ones the journal says what was erased.
    assert erased("c", chain[:2], whole.keys) == {first[0].id}
    # Those from before there was the journal of `ddx erase` are too old.
    with pytest.raises(BadBackup, match="of an earlier backup; name the newest"):
        restoring.restore(chain, tmp_path / "d", before.keys)


def test_a_journal_that_is_older_than_its_keys_takes_new_predictions(
    home: Home, tmp_path: Path, cli: Cli
) -> None:
    loaded, first = home
    whole = back_up(loaded, str(tmp_path / "whole.tar"))
    (later,) = written(loaded)
    assert cli(loaded, "erase", later.id, "--yes")[0] == 0
    newest = back_up(loaded, str(tmp_path / "newest.tar")).keys
    restoring.restore([whole.path], tmp_path / "new", newest)
    back = restoring._settings_of(tmp_path / "new")
    made = written(back, 3)
    with closing(SqliteJournalReader(back.data, "main")) as reader:
        assert list(reader.predictions([one.id for one in made])) == made
    assert len(first) == 3


def test_since_takes_the_latest_a_manifest_or_a_backup_that_was_made_elsewhere(
    home: Home, tmp_path: Path, cli: Cli
) -> None:
    loaded, _ = home
    code, _, err = cli(loaded, "backup", tmp_path / "x.tar", "--since", "latest")
    assert code == EXIT_CODE["output_refused"]
    assert "make a whole one" in err
    code, _, err = cli(loaded, "backup", tmp_path / "x.tar", "--since", tmp_path / "absent.tar")
    assert code == EXIT_CODE["output_refused"]
    assert "is not there" in err

    whole = back_up(loaded, str(tmp_path / "whole.tar"))
    written(loaded)
    assert cli(loaded, "backup", tmp_path / "one.tar", "--since", "latest")[0] == 0
    written(loaded)
    manifest = taken_out(str(tmp_path / "one.tar"), "manifest.json", tmp_path)
    assert cli(loaded, "backup", tmp_path / "two.tar", "--since", manifest)[0] == 0
    shutil.rmtree(loaded.data / "backups")
    written(loaded)
    code, out, _ = cli(
        loaded, "backup", tmp_path / "three.tar", "--since", tmp_path / "two.tar", "--json"
    )
    names = [one["name"] for one in json.loads(out)["chain"]]
    assert (code, names) == (0, ["whole.tar", "one.tar", "two.tar"])
    assert restoring.drill([str(tmp_path / "three.tar")]).predictions == 6
    assert whole.manifest.name == "whole.tar"

    (tmp_path / "three.tar").unlink()
    code, _, err = cli(loaded, "backup", tmp_path / "x.tar", "--since", "latest")
    assert code == EXIT_CODE["output_refused"]
    assert "is not there any more" in err


def test_an_encrypted_one_made_here_is_followed_without_what_opens_it(
    home: Home, tmp_path: Path
) -> None:
    pyrage = pytest.importorskip("pyrage", reason="needs the extra `age`")
    identity = pyrage.x25519.Identity.generate()
    opens = tmp_path / "identity.txt"
    opens.write_text(f"{identity}\n")
    to = [str(identity.to_public())]
    loaded, _ = home
    back_up(loaded, str(tmp_path / "whole.tar.age"), to)
    written(loaded)
    back_up(loaded, str(tmp_path / "one.tar.gz.age"), to, since=str(tmp_path / "whole.tar.age"))
    last = str(tmp_path / "one.tar.gz.age")
    assert restoring.drill([last], identity=opens).predictions == 4

    # What this installation does not remember has to be read.
    shutil.rmtree(loaded.data / "backups")
    with pytest.raises(BadBackup, match="--identity"):
        back_up(loaded, str(tmp_path / "two.tar.age"), to, since=last)
    two = back_up(loaded, str(tmp_path / "two.tar.age"), to, since=last, identity=opens)
    assert [one.name for one in two.manifest.chain] == ["whole.tar.age", "one.tar.gz.age"]


def test_a_damaged_increment_is_found(home: Home, tmp_path: Path, cli: Cli) -> None:
    loaded, _ = home
    made = a_chain(loaded, tmp_path, 1)
    path = Path(made[1].path)
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        member = tar.getmember("later/main.db")
    place = member.offset_data + member.size // 2
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    assert cli(loaded, "backup", "verify", path)[0] == EXIT_CODE["bad_backup"]
    with pytest.raises(BadBackup, match=r"later/main\.db is not what was put in"):
        restoring.restore([made[0].path, str(path)], tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_a_backup_of_the_first_format_still_restores(home: Home, tmp_path: Path) -> None:
    loaded, _ = home
    whole = back_up(loaded, str(tmp_path / "whole.tar"))
    for path in (Path(whole.path), Path(whole.keys)):
        with tarfile.open(path) as old, tarfile.open(tmp_path / "old", "w") as new:
            for info in old:
                content = old.extractfile(info)
                assert content is not None
                data = content.read()
                if info.name == "manifest.json":
                    said = json.loads(data)
                    kept = ("made_at", "version", "files", "artifacts_path")
                    first = {name: said[name] for name in kept}
                    events = {name: tail["seq"] for name, tail in said["journals"].items()}
                    text = json.dumps({"format": "ddx-backup/1", **first, "events": events})
                    data = text.encode()
                    info.size = len(data)
                new.addfile(info, io.BytesIO(data))
        (tmp_path / "old").rename(path)
    assert restoring.drill([whole.path]).predictions == 3
    shutil.rmtree(loaded.data / "backups")
    with pytest.raises(OutputRefused, match="make a whole one"):
        back_up(loaded, str(tmp_path / "one.tar"), since=whole.path)
