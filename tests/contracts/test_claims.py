"""What every keeper of claims promises."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from tests.contracts.test_journal import a_claim
from tests.make import a_prediction, finished
from tests.postgres import NoPostgres, a_postgres

from ddx.adapters.claims import SqliteClaims
from ddx.adapters.memory import MemoryClaims
from ddx.core.record import Declined, Failed, Prediction, PredictionId
from ddx.errors import ClaimsUnavailable, SettingsError
from ddx.ports import Claim, Claims, Held, Holder, Standing

SECRET = b"s" * 32
Opening = Callable[[str], Claims]


def a_holder(instance: str, node: str = "here") -> Holder:
    return Holder(node=node, instance=instance, life=f"life of {instance} on {node}")


class ClaimsContract:
    """Subclass it and say how a process of a deployment opens its claims."""

    def test_a_tracker_belongs_to_the_first_who_takes_it(self, opened: Opening) -> None:
        here, there = opened("main"), opened("main-2")
        first = a_prediction()
        assert here.take(a_claim(), first).result() is None
        for claims in (here, there):
            held = claims.take(a_claim(), a_prediction()).result()
            assert held is not None
            assert (held.by, held.same_body, held.holder) == (first.id, True, a_holder("main"))

    def test_another_body_is_told_apart_in_every_process(self, opened: Opening) -> None:
        first = a_prediction()
        opened("main").take(a_claim(), first).result()
        held = opened("main-2").take(a_claim(body=b"other"), a_prediction()).result()
        assert held is not None
        assert (held.by, held.same_body) == (first.id, False)

    def test_another_caller_or_tracker_is_free(self, opened: Opening) -> None:
        claims = opened("main")
        claims.take(a_claim(), a_prediction()).result()
        other = Claim(scope="clinic 2", tracker="visit 1", body=b"body")
        assert claims.look(other).result() is None
        assert claims.take(other, a_prediction()).result() is None
        assert claims.take(a_claim("visit 2"), a_prediction()).result() is None

    def test_a_look_takes_nothing(self, opened: Opening) -> None:
        claims = opened("main")
        assert claims.look(a_claim()).result() is None
        assert claims.take(a_claim(), a_prediction()).result() is None

    def test_a_retry_takes_the_tracker_over_once(self, opened: Opening) -> None:
        here, there = opened("main"), opened("main-2")
        first = a_prediction()
        second, third = a_prediction(retry_of=first.id), a_prediction(retry_of=first.id)
        here.take(a_claim(), first).result()
        again = a_claim(replaces=first.id)
        assert there.take(again, second).result() is None
        held = here.take(again, third).result()
        assert held is not None
        assert (held.by, held.retry_of, held.holder) == (second.id, first.id, a_holder("main-2"))
        # Its body is still the first one's.
        other = here.take(a_claim(body=b"other"), third).result()
        assert other is not None
        assert not other.same_body

    def test_what_no_journal_took_is_given_up(self, opened: Opening) -> None:
        here, there = opened("main"), opened("main-2")
        lost, next_one = a_prediction(), a_prediction()
        here.take(a_claim(), lost).result()
        # It is not theirs to give.
        there.release(lost.id)
        assert there.look(a_claim()).result() is not None
        here.release(lost.id)
        assert here.take(a_claim(), next_one).result() is None
        held = there.look(a_claim()).result()
        assert held is not None
        assert held.by == next_one.id

    def test_what_it_tried_again_has_the_tracker_back(self, opened: Opening) -> None:
        claims = opened("main")
        first = a_prediction()
        second = a_prediction(retry_of=first.id)
        claims.take(a_claim(), first).result()
        claims.finish(finished(first, Failed(code="model_error", message="m"))).result()
        claims.take(a_claim(replaces=first.id), second).result()
        claims.release(second.id)
        held = claims.look(a_claim()).result()
        assert held is not None
        assert (held.by, held.retry_of) == (first.id, None)
        # Nobody works on it, so nobody waits for it.
        assert held.holder is not None
        assert held.holder.life != a_holder("main").life
        assert held.standing is not Standing.RUNNING

    def test_of_many_at_once_one_has_it(self, opened: Opening) -> None:
        all_of_them = [opened("main"), opened("main-2")]
        start = threading.Barrier(16)

        def one(number: int) -> tuple[PredictionId, Held | None]:
            mine = a_prediction()
            start.wait()
            return mine.id, all_of_them[number % 2].take(a_claim(), mine).result()

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(one, range(16)))
        taken = [id for id, held in answers if held is None]
        assert len(taken) == 1
        assert {held.by for _, held in answers if held} == {taken[0]}


class KeptRepliesContract(ClaimsContract):
    """Of claims that are shared by several machines."""

    @pytest.fixture
    def elsewhere(self, opened_at: Callable[[str, str], Claims]) -> Claims:
        return opened_at("there", "main")

    def test_an_answer_is_had_without_its_journal(self, opened: Opening, elsewhere: Claims) -> None:
        here = opened("main")
        one = a_prediction()
        here.take(a_claim(), one).result()
        running = elsewhere.look(a_claim()).result()
        assert running is not None
        assert (running.standing, running.reply, running.heard) == (Standing.RUNNING, None, True)
        done = finished(one)
        here.finish(done).result()
        held = elsewhere.look(a_claim()).result()
        assert held is not None
        assert done.completion is not None
        assert held.standing is Standing.ANSWERED
        assert held.reply is not None
        assert (held.reply.status, held.reply.body) == (200, done.completion.body)
        assert held.reply.answer.outcome == done.outcome

    @pytest.mark.parametrize(
        ("outcome", "standing"),
        [
            (Declined(reason="too little"), Standing.ANSWERED),
            (Failed(code="model_error", message="m"), Standing.ENDED),
        ],
    )
    def test_how_it_ended_is_kept(
        self, opened: Opening, outcome: Declined | Failed, standing: Standing
    ) -> None:
        claims, one = opened("main"), a_prediction()
        claims.take(a_claim(), one).result()
        claims.finish(finished(one, outcome)).result()
        held = claims.look(a_claim()).result()
        assert held is not None
        assert held.standing is standing

    def test_the_claims_of_dead_processes_of_this_node_are_settled(
        self, opened: Opening, opened_at: Callable[[str, str], Claims]
    ) -> None:
        here, dead, other = opened("main"), opened("main-2"), opened_at("there", "main")
        told, lost, tried, retried, mine, theirs = (a_prediction() for _ in range(6))
        retried = a_prediction(retry_of=tried.id)
        dead.take(a_claim("told"), told).result()
        dead.take(a_claim("lost"), lost).result()
        dead.take(a_claim("tried"), tried).result()
        dead.finish(finished(tried, Failed(code="model_error", message="m"))).result()
        dead.take(a_claim("tried", replaces=tried.id), retried).result()
        here.take(a_claim("mine"), mine).result()
        other.take(a_claim("theirs"), theirs).result()
        kept = {told.id: finished(told)}
        assert here.settle(lambda _: False, kept.get) == 3
        stands = {}
        for name in ("told", "lost", "tried", "mine", "theirs"):
            held = here.look(a_claim(name)).result()
            stands[name] = held and (held.by, held.standing)
        assert stands == {
            "told": (told.id, Standing.ANSWERED),
            "lost": None,
            "tried": (tried.id, Standing.ENDED),
            "mine": (mine.id, Standing.RUNNING),
            "theirs": (theirs.id, Standing.RUNNING),
        }

    def test_a_living_process_s_claims_are_left_alone(self, opened: Opening) -> None:
        here, alive = opened("main"), opened("main-2")
        alive.take(a_claim(), a_prediction()).result()

        def nothing(id: PredictionId) -> Prediction | None:
            raise AssertionError("it may still be written")

        assert here.settle(lambda _: True, nothing) == 0

    def test_an_erased_answer_is_gone(self, opened: Opening) -> None:
        claims, one = opened("main"), a_prediction()
        claims.take(a_claim(), one).result()
        claims.finish(finished(one)).result()
        claims.forget(one.id)
        held = claims.look(a_claim()).result()
        assert held is not None
        assert (held.standing, held.reply) == (Standing.ERASED, None)


class TestMemoryClaims(KeptRepliesContract):
    @pytest.fixture
    def opened_at(self) -> Callable[[str, str], Claims]:
        shared: dict[tuple[str, str], tuple[bytes, Held]] = {}
        return lambda node, instance: MemoryClaims(
            a_holder(instance, node), shared, keeps_replies=True
        )

    @pytest.fixture
    def opened(self, opened_at: Callable[[str, str], Claims]) -> Opening:
        return lambda instance: opened_at("here", instance)


class TestSqliteClaims(ClaimsContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Iterator[Opening]:
        made: list[Claims] = []

        def opening(instance: str) -> Claims:
            made.append(SqliteClaims(tmp_path / "claims.db", a_holder(instance), SECRET))
            return made[-1]

        yield opening
        for one in made:
            one.close()

    def test_a_claim_outlives_its_process(self, opened: Opening) -> None:
        first, one = opened("main"), a_prediction()
        first.take(a_claim(), one).result()
        first.close()
        held = opened("main").look(a_claim()).result()
        assert held is not None
        assert held.by == one.id

    def test_the_file_is_private_and_shows_no_tracker(
        self, opened: Opening, tmp_path: Path
    ) -> None:
        opened("main").take(a_claim("Mrs Rao, visit 1", b"her case"), a_prediction()).result()
        for path in tmp_path.iterdir():
            assert path.stat().st_mode & 0o077 == 0
            found = path.read_bytes()
            assert b"Rao" not in found
            assert b"her case" not in found

    def test_a_closed_keeper_says_so(self, opened: Opening) -> None:
        claims = opened("main")
        claims.close()
        with pytest.raises(ClaimsUnavailable):
            claims.take(a_claim(), a_prediction()).result()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        with a_postgres(tmp_path_factory.mktemp("postgres")) as uri:
            yield uri
    except NoPostgres as error:
        pytest.skip(str(error))


class TestPostgresClaims(KeptRepliesContract):
    @pytest.fixture
    def opened_at(self, database: str) -> Iterator[Callable[[str, str], Claims]]:
        from ddx.adapters.claims.postgres import PostgresClaims

        empty(database)
        made: list[Claims] = []

        def opening(node: str, instance: str) -> Claims:
            made.append(PostgresClaims(database, a_holder(instance, node), SECRET))
            return made[-1]

        yield opening
        for one in made:
            one.close()

    @pytest.fixture
    def opened(self, opened_at: Callable[[str, str], Claims]) -> Opening:
        return lambda instance: opened_at("here", instance)

    def test_another_secret_is_refused(self, opened: Opening, database: str) -> None:
        from ddx.adapters.claims.postgres import PostgresClaims

        opened("main")
        with pytest.raises(SettingsError, match="claims_key_file"):
            PostgresClaims(database, a_holder("main-2"), b"t" * 32)

    def test_the_database_holds_no_word_of_an_answer(self, opened: Opening, database: str) -> None:
        claims, one = opened("main"), a_prediction()
        claims.take(a_claim("Mrs Rao, visit 1", b"her case"), one).result()
        claims.finish(finished(one)).result()
        kept = rows(database, "select * from ddx.claim")
        assert len(kept) == 1
        for secret in (b"Rao", b"her case", b"Dengue"):
            assert secret not in b"".join(
                value if isinstance(value, bytes) else str(value).encode() for value in kept[0]
            )

    def test_a_process_that_gives_no_sign_of_life_is_not_heard(
        self, opened: Opening, elsewhere: Claims, database: str
    ) -> None:
        here = opened("main")
        here.take(a_claim(), a_prediction()).result()
        here.close()
        rows(database, "update ddx.claim_life set seen_at = seen_at - interval '1 minute'")
        held = elsewhere.look(a_claim()).result()
        assert held is not None
        assert not held.heard

    def test_what_could_not_be_kept_is_kept_when_the_database_is_back(
        self, opened: Opening, database: str
    ) -> None:
        claims, one = opened("main"), a_prediction()
        claims.take(a_claim(), one).result()
        rows(database, "alter table ddx.claim rename to claim_away")
        with suppress(ClaimsUnavailable):
            claims.finish(finished(one)).result()
        rows(database, "alter table ddx.claim_away rename to claim")
        # Owed is done before what comes after.
        held = claims.look(a_claim()).result()
        assert held is not None
        assert held.standing is Standing.ANSWERED

    def test_a_lost_connection_is_made_again(self, opened: Opening, database: str) -> None:
        claims = opened("main")
        rows(
            database,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'ddx claims'",
        )
        with suppress(ClaimsUnavailable):
            claims.look(a_claim()).result()
        assert claims.take(a_claim(), a_prediction()).result() is None


def empty(database: str) -> None:
    with suppress(Exception):
        rows(database, "drop schema ddx cascade")


def rows(database: str, sql: str) -> list[tuple[object, ...]]:
    import psycopg

    with psycopg.connect(database.replace("+psycopg", ""), autocommit=True) as connection:
        found = connection.execute(sql.encode())
        return found.fetchall() if found.description else []
