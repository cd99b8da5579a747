"""Claims and records that processes share: of this data folder, of before, of other machines."""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.make import a_feedback, a_prediction, a_request, finished
from tests.postgres import NoPostgres, a_postgres

from ddx import settings
from ddx.adapters.sqlite_journal import SqliteJournal, SqliteJournalReader, writer_of
from ddx.core.codec import encode_request
from ddx.core.feedback import Feedback
from ddx.core.record import PredictionId
from ddx.errors import PredictionNotFound, SettingsError
from ddx.ports import Claim, Holder
from ddx.web.api import create_app
from ddx.web.state import Server
from ddx.wiring import sharing
from ddx.wiring.backing_up import back_up
from ddx.wiring.erasing import erased, wanted

BENCH = {"DDX_BENCH_MODELS": "1", "DDX_DEFAULT_MODEL": "instant"}


@contextmanager
def serving(home: Path, **environment: str) -> Iterator[TestClient]:
    server = Server(settings.load({**BENCH, **environment}, home=home))
    with TestClient(create_app(server), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, tracker: str, case: str = "Fever.") -> tuple[int, bytes]:
    response = client.post("/predict/v1", json={"case": case, "tracker": tracker})
    return response.status_code, response.content


def accepted(home: Path, instance: str) -> int:
    with closing(SqliteJournalReader(home / "ddx_data", instance)) as reader:
        return reader.last_seq()


def test_a_tracker_of_before_there_were_workers_answers_the_same_bytes(tmp_path: Path) -> None:
    with serving(tmp_path) as lone:
        yesterday = ask(lone, "visit 1")
    assert not (tmp_path / "ddx_data" / "claims.db").exists()
    ended = accepted(tmp_path, "main")
    for instance in ("main", "main-2"):
        with serving(tmp_path, DDX_WORKERS="2", DDX_INSTANCE=instance) as worker:
            assert ask(worker, "visit 1") == yesterday
            assert ask(worker, "visit 1", "Cough.")[0] == 422
    assert (accepted(tmp_path, "main"), accepted(tmp_path, "main-2")) == (ended, 0)


def test_what_workers_answered_a_lone_server_answers_too(tmp_path: Path) -> None:
    with serving(tmp_path, DDX_WORKERS="2", DDX_INSTANCE="main-2") as worker:
        told = ask(worker, "visit 1")
    with serving(tmp_path) as lone:
        assert ask(lone, "visit 1") == told
        assert ask(lone, "visit 1", "Cough.")[0] == 422


def test_a_failure_of_before_is_tried_again_as_its_retry(tmp_path: Path) -> None:
    body = a_request(case="Fever.", model_name="instant")
    failed = a_prediction(request=replace(body, tracker="visit 1"))
    claim = Claim(
        scope="anonymous", tracker="visit 1", body=encode_request(body).encode(), replaces=None
    )
    # Accepted by a server of before, which died over it.
    with closing(SqliteJournal(tmp_path / "ddx_data", "main")) as journal:
        journal.accept(failed, claim).result()
    with serving(tmp_path, DDX_WORKERS="2", DDX_INSTANCE="main-2") as worker:
        status, told = ask(worker, "visit 1")
        assert status == 200
        record = worker.get("/predictions").json()["predictions"][0]
        assert record["retry_of"] == failed.id
        assert ask(worker, "visit 1") == (200, told)


def test_a_worker_tells_two_lives_of_a_journal_s_writer_apart(tmp_path: Path) -> None:
    assert writer_of(tmp_path, "main") is None
    first = SqliteJournal(tmp_path, "main", life="first")
    found = writer_of(tmp_path, "main")
    assert found is not None
    assert found[1] == "first"
    neighbours = sharing.Siblings(tmp_path, None)  # type: ignore[arg-type]
    assert neighbours.alive(Holder(node="", instance="main", life="first"))
    assert not neighbours.alive(Holder(node="", instance="main", life="before"))
    assert neighbours.alive(Holder(node="", instance="main", life=""))
    first.close()
    assert not neighbours.alive(Holder(node="", instance="main", life="first"))
    assert not neighbours.alive(Holder(node="", instance="main", life=""))


async def test_feedback_for_a_journal_that_nobody_writes_is_kept_in_it(tmp_path: Path) -> None:
    one = finished()
    with closing(SqliteJournal(tmp_path, "main-7")) as gone:
        gone.accept(one, None).result()
    neighbours = sharing.Siblings(tmp_path, None)  # type: ignore[arg-type]
    said: list[Feedback] = [a_feedback(comment="1"), a_feedback(comment="2")]
    for word in said:
        await neighbours.give_feedback("main-7", one.id, word)
    with closing(SqliteJournalReader(tmp_path, "main-7")) as reader:
        assert list(reader.feedback_of(one.id)) == said
    with pytest.raises(PredictionNotFound):
        await neighbours.give_feedback("main-7", PredictionId("nobody"), said[0])


def test_a_backup_takes_the_shared_claims_with_it(tmp_path: Path) -> None:
    home, back = tmp_path / "home", tmp_path / "back"
    home.mkdir()
    with serving(home, DDX_WORKERS="2", DDX_INSTANCE="main-2") as worker:
        told = ask(worker, "visit 1")
        # While it runs: the newest claims are in SQLite's log, beside the file.
        made = back_up(settings.load(BENCH, home=home), str(tmp_path / "b.tar"))
    for file in (made.path, made.keys):
        with tarfile.open(file) as archive:
            archive.extractall(back, filter="data")
    assert not (back / "data" / "run").exists()
    (back / "data").rename(back / "ddx_data")
    with serving(back, DDX_INSTANCE="main") as restored:
        assert ask(restored, "visit 1") == told


def test_what_is_limited_is_shared_out() -> None:
    whole = settings.load({**BENCH, "DDX_MAX_RUNNING": "9", "DDX_MAX_BATCHES": "1"})
    part = sharing.shared_out(whole, 2)
    assert (part.max_running, part.max_batches, part.batch_running) == (4, 1, 2)


# --- several machines -------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        with a_postgres(tmp_path_factory.mktemp("postgres")) as uri:
            yield uri
    except NoPostgres as error:
        pytest.skip(str(error))


@pytest.fixture
def machines(tmp_path: Path, database: str) -> tuple[Path, Path, dict[str, str]]:
    """Two homes, and the settings that make them one deployment."""
    import psycopg

    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("drop schema if exists ddx cascade")
    key = tmp_path / "claims.key"
    key.write_bytes(b"k" * 32)
    homes = tmp_path / "here", tmp_path / "there"
    for home in homes:
        home.mkdir()
    return *homes, {"DDX_CLAIMS_URI": database, "DDX_CLAIMS_KEY_FILE": str(key)}


def test_another_machine_answers_the_same_bytes_without_this_one_s_disk(
    machines: tuple[Path, Path, dict[str, str]],
) -> None:
    here, there, environment = machines
    with serving(here, **environment) as one, serving(there, **environment) as other:
        told = ask(one, "visit 1")
        assert told[0] == 200
        assert ask(other, "visit 1") == told
        assert ask(other, "visit 1", "Cough.")[0] == 422
        assert accepted(there, "main") == 0
    # Also when that machine is gone, and this one began anew.
    with serving(there, **environment) as other:
        assert ask(other, "visit 1") == told


def test_a_machine_that_died_settles_its_trackers_when_it_is_back(
    machines: tuple[Path, Path, dict[str, str]],
) -> None:
    here, there, environment = machines
    with serving(there, **environment) as other:
        with ExitStack() as dying:
            # Claimed and accepted, and no word after that.
            loaded = settings.load({**BENCH, **environment}, home=here)
            claims = sharing.claims(loaded, "main", "a life that ends")
            assert claims is not None
            dying.enter_context(closing(claims))
            journal = SqliteJournal(here / "ddx_data", "main", life="a life that ends")
            dying.enter_context(closing(journal))
            body = a_request(case="Fever.", model_name="instant")
            lost = a_prediction(request=replace(body, tracker="visit 1"))
            claim = Claim(scope="anonymous", tracker="visit 1", body=encode_request(body).encode())
            assert claims.take(claim, lost).result() is None
            journal.accept(lost, None).result()
        silence(environment["DDX_CLAIMS_URI"])
        status, said = ask(other, "visit 1")
        assert status == 503
        assert b"tracker_unsettled" in said
        with serving(here, **environment):
            pass
        assert ask(other, "visit 1")[0] == 200
        assert other.get("/predictions").json()["predictions"][0]["retry_of"] == lost.id


def silence(database: str) -> None:
    """Let the last signs of life be old ones, but for processes that go on giving them."""
    import psycopg

    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("update ddx.claim_life set seen_at = seen_at - interval '1 minute'")


def test_erasing_takes_the_answer_out_of_the_claims(
    machines: tuple[Path, Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    here, there, environment = machines
    # MLflow is not there: that is said, and the rest is done.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with serving(here, **environment) as one, serving(there, **environment) as other:
        ask(one, "visit 1")
        loaded = settings.load({**BENCH, **environment}, home=here)
        done = erased(loaded, wanted(loaded, [], ["visit 1"]))
        assert [entry["key"] for entry in done.erased] == ["destroyed"]
        assert [ask(client, "visit 1")[0] for client in (one, other)] == [410, 410]
    with psycopg.connect(environment["DDX_CLAIMS_URI"].replace("+psycopg", "")) as connection:
        rows = connection.execute("select standing, reply from ddx.claim").fetchall()
    assert rows == [("erased", None)]


def test_a_database_that_is_away_refuses_trackers_alone(
    machines: tuple[Path, Path, dict[str, str]],
) -> None:
    here, _, environment = machines
    environment["DDX_CLAIMS_URI"] = "postgresql://ddx@127.0.0.1:9/nowhere"
    with serving(here, **environment) as one:
        status, said = ask(one, "visit 1")
        assert status == 503
        assert b"claims_unavailable" in said
        assert one.post("/predict/v1", json={"case": "Fever."}).status_code == 200


def test_machines_with_different_secrets_are_no_deployment(
    machines: tuple[Path, Path, dict[str, str]], tmp_path: Path
) -> None:
    here, there, environment = machines
    with serving(here, **environment):
        pass
    (tmp_path / "other.key").write_bytes(b"o" * 32)
    loaded = settings.load(
        {**environment, "DDX_CLAIMS_KEY_FILE": str(tmp_path / "other.key")}, home=there
    )
    with pytest.raises(SettingsError, match="claims_key_file"):
        sharing.claims(loaded, "main", "life")


def test_workers_of_before_there_were_machines_are_not_forgotten(
    machines: tuple[Path, Path, dict[str, str]],
) -> None:
    here, there, environment = machines
    with serving(here) as lone:
        first = ask(lone, "visit 1")
    with serving(here, DDX_WORKERS="2", DDX_INSTANCE="main-2") as worker:
        second = ask(worker, "visit 2")
    with serving(here, **environment) as one, serving(there, **environment):
        assert ask(one, "visit 1") == first
        assert ask(one, "visit 2") == second


async def test_a_sibling_that_answers_nothing_is_not_waited_for(tmp_path: Path) -> None:
    neighbours = sharing.Siblings(tmp_path, None)  # type: ignore[arg-type]
    holder = Holder(node="", instance="main", life="x")
    async with asyncio.timeout(5):
        await neighbours.until_ended(holder, PredictionId("nobody"))
