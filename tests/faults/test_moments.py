"""Real processes die at each named moment, and both doors end with each answer exactly once."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.make import a_prediction, a_request, finished
from tests.system.stack import Reply, Stack, check, free_port
from tests.tracking_server import Tracking, a_server

from ddx.adapters.sqlite_journal import SqliteJournal
from ddx.settings import load
from ddx.wiring import delivering

pytestmark = pytest.mark.xdist_group("moments")
REQUESTS = 6
SERVER = ("accepted", "answered", "kept")
SHARING = ("claimed",)
"""Comes where processes share the claims of trackers."""
DELIVERER = ("opened", "sent", "acknowledged")
ARCHIVER = ("written", "verified", "noted", "removed")
"""Died at in tests/cli/test_archive.py."""


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    with a_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


class Site:
    """An installation beside a running MLflow, whose processes are started one by one."""

    def __init__(self, home: Path, tracking: Tracking, door: str) -> None:
        port = int(tracking.uri.rpartition(":")[2])
        self.stack = Stack(home, free_port(), port)
        self.environment = {
            **os.environ,
            "DDX_HOME": str(home),
            "DDX_PORT": str(self.stack.port),
            "DDX_MLFLOW_PORT": str(port),
            "DDX_DELIVERY": door,
            "DDX_BENCH_MODELS": "1",
            "DDX_DEFAULT_MODEL": "instant",
        }
        (home / "mlflow_server_config.py").write_text(
            f"db_uri = {tracking.db_uri!r}\nartifacts_path = {tracking.artifacts_path!r}\n"
        )

    def start(self, *words: str, dies_at: tuple[str, int] | None = None) -> subprocess.Popen[bytes]:
        module = ["tests.faults.dying", dies_at[0], str(dies_at[1])] if dies_at else ["ddx"]
        with (self.stack.home / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *module, *words],
                env=self.environment,
                cwd=Path(__file__).parents[2],
                stdout=log,
                stderr=log,
            )

    @contextmanager
    def serving(self, dies_at: tuple[str, int] | None = None) -> Iterator[subprocess.Popen[bytes]]:
        server = self.start("serve", "--no-deliverer", dies_at=dies_at)
        try:
            self.stack.wait(lambda: self.stack.get("/readyz").status == 200, 60)
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)

    def send(self, number: int, of: str) -> Reply | None:
        """Post one request; None where the server died over it."""
        try:
            return self.stack.post(case=f"Case {number}", tracker=f"{of}-{number}")
        except (OSError, http.client.HTTPException):
            return None

    def keep(self, number: int, of: str) -> Reply:
        """Keep a finished record in the journal, as a server does; return what a client is told."""
        one = finished(a_prediction(request=a_request(tracker=f"{of}-{number}")))
        with closing(SqliteJournal(self.stack.home / "ddx_data", "main")) as journal:
            journal.accept(one, None).result()
        assert one.completion is not None
        return Reply(200, one.completion.body.encode(), {"x-prediction-id": one.id})

    def deliver(self) -> None:
        """Deliver what there is, in this process: loading MLflow anew takes seconds."""
        settings = load(self.environment, self.stack.home)
        done = delivering.deliver(settings, once=True)
        assert done["left"] == 0

    def faults(self, told: list[Reply]) -> list[str]:
        instance = [run for run in self.stack.runs() if run.data.tags["ddx.tracker"]]
        return check(self.stack, told, instance)


@pytest.mark.parametrize("door", ["bulk", "client"])
@pytest.mark.parametrize("moment", SERVER)
def test_a_server_that_dies_loses_and_doubles_no_answer(
    tmp_path: Path, tracking: Tracking, moment: str, door: str
) -> None:
    site, name = Site(tmp_path, tracking, door), f"{moment}-{door}"
    told: list[Reply] = []
    with site.serving(dies_at=(moment, 3)) as server:
        told += [reply for n in range(3) if (reply := site.send(n, name)) is not None]
        assert server.wait(30) == -signal.SIGKILL
    assert len(told) == 2
    with site.serving():
        again = [site.send(n, name) for n in range(REQUESTS)]
    assert [reply.status for reply in again if reply] == [200] * REQUESTS
    # A repeated request has the answer that was told before the death, byte for byte.
    assert [reply.body for reply in again[:2] if reply] == [reply.body for reply in told]
    site.deliver()
    assert site.faults([*told, *filter(None, again)]) == []
    ours = [run for run in site.stack.runs() if run.data.tags["ddx.tracker"].startswith(name)]
    interrupted = [run for run in ours if run.info.status == "KILLED"]
    # What was kept before the death is the answer; what was not is closed, and tried anew.
    assert len(interrupted) == (0 if moment == "kept" else 1)
    assert len(ours) == REQUESTS + len(interrupted)


@pytest.mark.parametrize("moment", [*SHARING, *SERVER])
def test_a_server_that_shares_its_claims_dies_and_loses_and_doubles_no_answer(
    tmp_path: Path, tracking: Tracking, moment: str
) -> None:
    site, name = Site(tmp_path, tracking, "bulk"), f"{moment}-sharing"
    # As workers leave it: from then on the claims are shared.
    (tmp_path / "ddx_data").mkdir(mode=0o700)
    (tmp_path / "ddx_data" / "claims.db").touch(mode=0o600)
    told: list[Reply] = []
    with site.serving(dies_at=(moment, 3)) as server:
        told += [reply for n in range(3) if (reply := site.send(n, name)) is not None]
        assert server.wait(30) == -signal.SIGKILL
    assert len(told) == 2
    # Another process is asked first: the dead one's trackers are free for it, or answered.
    site.environment["DDX_INSTANCE"] = "main-2"
    with site.serving():
        again = [site.send(n, name) for n in range(REQUESTS)]
    assert [reply.status for reply in again if reply] == [200] * REQUESTS
    assert [reply.body for reply in again[:2] if reply] == [reply.body for reply in told]
    # And the dead one itself, when it is back, has the same to say.
    site.environment["DDX_INSTANCE"] = "main"
    with site.serving():
        back = [site.send(n, name) for n in range(REQUESTS)]
    assert [reply.body for reply in back if reply] == [reply.body for reply in again if reply]
    site.deliver()
    assert site.faults([*told, *filter(None, again)]) == []
    ours = [run for run in site.stack.runs() if run.data.tags["ddx.tracker"].startswith(name)]
    interrupted = [run for run in ours if run.info.status == "KILLED"]
    # Claimed alone is no record yet, and kept is an answer.
    assert len(interrupted) == (1 if moment in ("accepted", "answered") else 0)
    assert len(ours) == REQUESTS + len(interrupted)


@pytest.mark.parametrize("door", ["bulk", "client"])
@pytest.mark.parametrize("moment", DELIVERER)
def test_a_deliverer_that_dies_loses_and_doubles_no_run(
    tmp_path: Path, tracking: Tracking, moment: str, door: str
) -> None:
    site, name = Site(tmp_path, tracking, door), f"{moment}-{door}"
    told = [site.keep(n, name) for n in range(REQUESTS)]
    # The bulk door comes to each moment once for a batch, the client door once for a run.
    dying = site.start("deliver", "--once", dies_at=(moment, 1 if door == "bulk" else 3))
    assert dying.wait(120) == -signal.SIGKILL
    site.deliver()
    assert site.faults(told) == []
    ours = [run for run in site.stack.runs() if run.data.tags["ddx.tracker"].startswith(name)]
    assert len(ours) == REQUESTS


def test_every_moment_has_its_death() -> None:
    """The moments that the code names are the ones that are tested."""
    sources = Path(__file__).parents[2] / "src" / "ddx" / "services"
    found = subprocess.run(
        ["grep", "-rhoE", r'_at\("[a-z]+"\)', str(sources)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {line.split('"')[1] for line in found} == {*SERVER, *SHARING, *DELIVERER, *ARCHIVER}
