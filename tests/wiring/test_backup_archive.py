"""A backup holds the archive of old runs, and a restore brings them back with what people gave."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ddx.adapters.run_index import RunIndex
from ddx.core import ids
from ddx.core.record import Prediction
from ddx.settings import Settings
from ddx.wiring import archiving, restoring
from ddx.wiring.backing_up import Made, back_up

pytest.importorskip("mlflow", reason="needs the extra `tracking`")
Home = tuple[Settings, list[Prediction]]
MINE = "worth a second look"


@pytest.fixture
def archived(home: Home) -> Home:
    """All three predictions archived, one with a tag of a person's."""
    loaded, made = home
    with closing(sqlite3.connect(loaded.db_uri.removeprefix("sqlite:///"))) as db, db:
        row = ("mine", MINE, ids.run_id(made[1].id))
        db.execute("insert into tags (key, value, run_uuid) values (?, ?, ?)", row)
    put_away(loaded)
    return home


def put_away(loaded: Settings) -> None:
    done = archiving.archive(loaded, 0, dry_run=False, progress=lambda _: None)
    assert (done.archived, done.changed) == (3, 0)


def runs_of(home: Path) -> tuple[int, list[str], str]:
    """Return how many active runs there are, people's tags, and all places of files."""
    with closing(sqlite3.connect(home / "mlflow_data" / "mlflow.db")) as db:
        active = "from runs where lifecycle_stage = 'active'"
        (count,) = db.execute(f"select count(*) {active}").fetchone()
        (uris,) = db.execute(f"select group_concat(artifact_uri) {active}").fetchone()
        tags = [value for (value,) in db.execute("select value from tags where key = 'mine'")]
    return count, tags, uris


def a_chain(loaded: Settings, folder: Path) -> list[Made]:
    whole = back_up(loaded, str(folder / "whole.tar"))
    return [whole, back_up(loaded, str(folder / "later.tar"), since=whole.path)]


@pytest.mark.parametrize("increment", [False, True])
def test_archived_runs_come_back_with_what_people_gave_them(
    archived: Home, tmp_path: Path, *, increment: bool
) -> None:
    loaded, _ = archived
    made = a_chain(loaded, tmp_path)[: 2 if increment else 1]
    found = restoring.restore([one.path for one in made], tmp_path / "new")
    assert found.ok, found.differences
    count, tags, uris = runs_of(tmp_path / "new")
    assert (found.predictions, count, tags) == (3, 3, [MINE])
    assert uris.count(str(tmp_path / "new" / "mlflow_data" / "artifacts")) == 3
    assert not (tmp_path / "new" / "ddx_data" / "archive").exists()
    assert not RunIndex(tmp_path / "new" / "ddx_data").all_ids()
    # And can be archived again there.
    put_away(restoring._settings_of(tmp_path / "new"))


def test_the_archive_in_a_backup_tells_nothing_without_the_keys(
    archived: Home, tmp_path: Path
) -> None:
    made = back_up(archived[0], str(tmp_path / "b.tar"))
    assert MINE.encode() not in Path(made.path).read_bytes()


def test_what_is_damaged_in_the_archive_is_named_and_made_anew_from_its_record(
    archived: Home, tmp_path: Path
) -> None:
    loaded, _ = archived
    (file,) = (loaded.data / "archive").iterdir()
    file.write_text(file.read_text().replace('"sealed": "', '"sealed": "AAAA'))
    made = back_up(loaded, str(tmp_path / "b.tar"))
    found = restoring.restore([made.path], tmp_path / "new")
    assert [one.partition(":")[0] for one in found.differences] == ["archive"]
    count, tags, _ = runs_of(tmp_path / "new")
    assert (found.predictions, count, tags) == (3, 3, [])


def test_the_backup_of_what_is_erased_later_gives_back_nothing_of_it(
    archived: Home, tmp_path: Path
) -> None:
    from ddx.wiring import erasing

    loaded, made = archived
    first = back_up(loaded, str(tmp_path / "first.tar"))
    erasing.erased(loaded, erasing.wanted(loaded, [made[1].id], []))
    second = back_up(loaded, str(tmp_path / "second.tar"))
    found = restoring.restore([first.path], tmp_path / "new", second.keys)
    assert found.ok, found.differences
    count, tags, _ = runs_of(tmp_path / "new")
    assert (found.predictions, found.erased, count, tags) == (2, 1, 2, [])
