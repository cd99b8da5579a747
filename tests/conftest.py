"""What many rooms share; and in CI nothing may be skipped for want of what CI can install."""

from __future__ import annotations

import logging
import os
import signal
import socketserver
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddx.adapters import logs

_skipped: list[str] = []
# Ray reads both when it is loaded, which any test may be the first to do: its clusters here are of
# this machine alone, and with a token.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_AUTH_MODE"] = "token"


@pytest.fixture(autouse=True)
def _given_back() -> Iterator[None]:
    """Give back what a command that runs in this process takes for itself: signals, and the log."""
    taken = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    root = logging.getLogger()
    level = root.level
    yield
    for number, handler in taken.items():
        signal.signal(number, handler)
    root.setLevel(level)
    for one in list(root.handlers):
        if type(one).__module__ == logs.__name__:
            root.removeHandler(one)


@pytest.fixture(autouse=True, scope="session")
def _clients_may_go() -> Iterator[None]:
    """Let a stub say nothing of a client that closes its connection, at whatever time: what its
    thread prints would be in the standard error of the test that runs then.
    """
    before = socketserver.BaseServer.handle_error

    def quiet(server: socketserver.BaseServer, request: object, client: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            before(server, request, client)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socketserver.BaseServer, "handle_error", quiet)
        yield


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of public cases and knowledge that TEST_DATA names.

    Their licences differ, so no machine can install them: such a skip is allowed in CI too.
    """
    if not (folder := os.environ.get("TEST_DATA")):
        pytest.skip("TEST_DATA names no folder of public cases")
    return Path(folder)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's SQLite file with its tables, as the server makes it at its first start."""
    pytest.importorskip("mlflow", reason="needs the extra `tracking`")
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    path = tmp_path_factory.mktemp("schema") / "mlflow.db"
    engine = create_engine(f"sqlite:///{path}")
    _initialize_tables(engine)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The knowledge engine's cache, filled: making it takes ten seconds and more."""
    from ddx.settings import load
    from ddx.wiring.serving import Engines

    home = tmp_path_factory.mktemp("cache")
    Engines(load({"DDX_HOME": str(home)})).terminology().codes("Dengue fever")
    return home / "ddx_data" / "cache"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note a skip that says that it `needs` something."""
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason.startswith("needs "):
            _skipped.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI=true, fail where a test was skipped for something absent."""
    if os.environ.get("CI") == "true" and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped, in CI."""
    for line in _skipped if os.environ.get("CI") == "true" else ():
        terminalreporter.write_line(f"skipped, and CI does not allow it: {line}")
