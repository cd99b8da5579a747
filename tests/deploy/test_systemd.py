"""The units: sound by systemd's own checks, closed in, and run here as they are written."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from tests.deploy.manifests import (
    BIN,
    CASE,
    DEPLOY,
    check_command,
    check_variables,
    ddx_json,
    pairs,
    wait_for,
)
from tests.system.stack import free_port

UNITS = DEPLOY / "systemd"
SERVICES = sorted(UNITS.glob("*.service"))
TIMERS = sorted(UNITS.glob("*.timer"))
EXPOSURE_AT_MOST = 2.0
"""Of 10, as `systemd-analyze security` counts; what no unit has asked for is above 9."""


def lines(unit: Path) -> list[tuple[str, str]]:
    """Each key and value, in order: a unit may say a key more than once."""
    found = (line.partition("=") for line in unit.read_text().splitlines())
    return [(key, value) for key, equals, value in found if equals and not key.startswith("#")]


def values(unit: Path, key: str) -> list[str]:
    return [value for name, value in lines(unit) if name == key]


def variables(unit: Path) -> dict[str, str]:
    return pairs(word for value in values(unit, "Environment") for word in shlex.split(value))


def command(unit: Path) -> list[str]:
    (line,) = values(unit, "ExecStart")
    return shlex.split(line)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The units, with the programs of this environment: systemd looks for them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    folder = tmp_path_factory.mktemp("units")
    for unit in UNITS.glob("ddx*.*"):
        text = unit.read_text().replace("/opt/ddx/bin", str(BIN))
        (folder / unit.name).write_text(text.replace("/opt/ddx/libexec", str(UNITS)))
    return sorted(folder.iterdir())


def test_systemd_finds_no_fault_in_them(here: list[Path]) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *here],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_systemds_check_would_find_a_fault(here: list[Path], tmp_path: Path) -> None:
    wrong = tmp_path / "ddx-server.service"
    text = next(unit for unit in here if unit.name == wrong.name).read_text()
    wrong.write_text(text.replace("ProtectHome=yes", "ProtectHome=sometimes"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", wrong],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Failed to parse protect home value" in done.stderr


@pytest.mark.parametrize("name", [unit.name for unit in SERVICES])
def test_systemd_counts_each_service_as_closed_in(here: list[Path], name: str) -> None:
    unit = next(unit for unit in here if unit.name == name)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE_AT_MOST, done.stdout


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_each_service_is_nobody_who_matters_and_keeps_its_files_to_itself(unit: Path) -> None:
    assert values(unit, "User") == ["ddx"]
    assert values(unit, "UMask") == ["0077"]
    assert values(unit, "StateDirectoryMode") == ["0700"]
    assert values(unit, "ProtectSystem") == ["strict"]
    assert values(unit, "NoNewPrivileges") == ["yes"]
    assert values(unit, "EnvironmentFile")[0] == "/etc/ddx/stores.env"


def test_the_keys_of_models_are_given_to_the_server_alone() -> None:
    told = {unit.name for unit in SERVICES if "-/etc/ddx/server.env" in unit.read_text()}
    assert told == {"ddx-server.service"}


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_each_command_option_and_variable_exists(unit: Path) -> None:
    words = command(unit)
    if words[0].startswith("/opt/ddx/libexec/"):
        assert os.access(UNITS / Path(words[0]).name, os.X_OK)
    else:
        check_command(words)
    check_variables(variables(unit))


def test_a_command_that_there_is_not_would_be_found() -> None:
    for words in ("ddx serv", "ddx serve --no-delivery", "ddx serve --port x"):
        with pytest.raises(click.ClickException):
            check_command(words.split())


@pytest.mark.parametrize("timer", TIMERS, ids=lambda unit: unit.name)
def test_each_timer_has_its_service_and_a_calendar_that_systemd_reads(timer: Path) -> None:
    assert timer.with_suffix(".service") in SERVICES
    assert values(timer, "Persistent") == ["yes"]
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    (when,) = values(timer, "OnCalendar")
    subprocess.run(["systemd-analyze", "calendar", when], check=True, capture_output=True)


# --- as they are written, on a machine of one's own ---------------------------------------


class Machine:
    """The folders that the units name, below a folder of ours; and the units' processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ports = {"5000": str(free_port()), "8000": str(free_port())}
        for folder in ("etc/ddx", "var/backups/ddx"):
            (root / folder).mkdir(parents=True)
        for unit in SERVICES:
            for folder in " ".join(values(unit, "StateDirectory")).split():
                (root / "var/lib" / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in [*(DEPLOY / "settings").iterdir(), UNITS / "stores.env"]:
            if file.is_file():
                (root / "etc/ddx" / file.name).write_text(self.moved(file.read_text()))

    def moved(self, text: str) -> str:
        """Put the root before each of the folders, and our programs for the installed ones."""
        for folder in ("/etc/ddx", "/var/lib/ddx", "/var/backups/ddx"):
            text = text.replace(folder, f"{self.root}{folder}")
        return text.replace("/opt/ddx/bin", str(BIN)).replace("/opt/ddx/libexec", str(UNITS))

    def environment(self, unit: Path) -> dict[str, str]:
        stores = (self.root / "etc/ddx/stores.env").read_text().splitlines()
        said = {name: self.moved(value) for name, value in variables(unit).items()}
        ports = {"DDX_PORT": self.ports["8000"], "DDX_MLFLOW_PORT": self.ports["5000"]}
        return {"PATH": os.defpath, "LANG": "C.UTF-8", **said, **pairs(stores), **ports}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        unit = UNITS / name
        words = [self.ports.get(self.moved(word), self.moved(word)) for word in command(unit)]
        with (self.root / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                words,
                env=self.environment(unit),
                cwd=self.root / "var/lib/ddx",
                stdout=log,
                stderr=subprocess.STDOUT,
                umask=0o077,
            )

    def log(self, name: str) -> str:
        return (self.root / f"{name}.log").read_text()[-3000:]

    def ddx(self, *words: str) -> dict[str, Any]:
        return ddx_json(self.environment(UNITS / "ddx-deliver.service"), *words)

    def wait(self, done: Callable[[], bool]) -> None:
        wait_for(done, self.root.glob("*.log"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    pytest.importorskip("mlflow", reason="needs the extra `tracking`")
    found = Machine(tmp_path_factory.mktemp("machine"))
    running = [
        found.start(name)
        for name in ("ddx-mlflow.service", "ddx-server.service", "ddx-deliver.service")
    ]
    try:
        mlflow = f"http://127.0.0.1:{found.ports['5000']}/health"
        ready = f"http://127.0.0.1:{found.ports['8000']}/readyz"
        found.wait(lambda: httpx.get(mlflow).status_code == 200)
        found.wait(lambda: httpx.get(ready).status_code == 200)
        yield found
    finally:
        for process in reversed(running):
            process.terminate()
        for process in reversed(running):
            process.wait(60)


def test_the_three_services_take_a_case_and_bring_it_to_mlflow(machine: Machine) -> None:
    url = f"http://127.0.0.1:{machine.ports['8000']}/predict/v1"
    assert httpx.post(url, json={"case": CASE}).status_code == 401

    key = machine.ddx("keys", "create", "--role", "predict")["token"]
    sent = {"Authorization": f"Bearer {key}"}
    answered = httpx.post(url, json={"case": CASE}, headers=sent, timeout=60)

    assert answered.status_code == 200, answered.text
    machine.wait(lambda: bool(machine.ddx("verify")["ok"]))


def test_the_backup_is_followed_by_increments_keeps_the_keys_apart_and_is_proved(
    machine: Machine,
) -> None:
    backups, keys = machine.root / "var/backups/ddx", machine.root / "var/lib/ddx-keys"
    old = backups / "2020-01-31T02-30-00Z"
    old.mkdir()
    (old / "2020-01-31T02-30-00Z.tar.gz").write_text("long ago")
    os.utime(old / "2020-01-31T02-30-00Z.tar.gz", (0, 0))
    os.utime(old, (0, 0))

    def back_up() -> list[Path]:
        code = machine.start("ddx-backup.service").wait(120)
        assert code == 0, machine.log("ddx-backup.service")
        assert [path.name for path in keys.iterdir()] == ["ddx.keys"]
        return sorted(backups.glob("*/*"))

    (whole,) = back_up()
    assert not old.exists()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.tar\.gz", whole.name)
    assert whole.parent.name == whole.name.removesuffix(".tar.gz")
    assert whole.stat().st_mode & 0o077 == 0

    first, later = back_up()
    assert (first, later.parent) == (whole, whole.parent)
    assert f"what came after {whole.name}" in machine.log("ddx-backup.service")
    drill = machine.start("ddx-drill.service").wait(240)
    assert drill == 0, machine.log("ddx-drill.service")
    assert sorted(backups.glob("*/*")) == [whole, later]

    # After a week a whole one begins a folder of its own.
    a_week_ago = time.time() - 7 * 24 * 3600
    os.utime(whole, (a_week_ago, a_week_ago))
    (*_, newest) = back_up()
    assert newest.parent != whole.parent
    # As it does where what it would follow is gone.
    newest.write_bytes(b"")
    (*_, again) = back_up()
    assert again.parent not in (whole.parent, newest.parent)


def test_a_drill_without_a_backup_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [UNITS / "ddx-drill", tmp_path, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "there is no backup" in done.stderr
