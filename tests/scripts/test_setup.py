"""scripts/environment.sh with stand-ins for python, pip and uv: what it does and what it says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
INPUTS = ("requirements.txt", "requirements-dev.txt", "pyproject.toml", "scripts/environment.sh")

# Each stand-in writes what it was asked into `diary`.
PYTHON_WITHOUT_VENV = """
case "$*" in
  *version_info*) exit 0 ;;
  "-m venv "*) echo "venv" >>"$DIARY"; mkdir -p "$3/bin"; exit 1 ;;
esac
"""
PYTHON = """
case "$*" in
  "-m venv "*) echo "venv" >>"$DIARY"; mkdir -p "$3/bin"
     cp "$0" "$3/bin/python"; cp "$(dirname "$0")/new-uv" "$3/bin/uv" ;;
  "-m pip config list") echo "global.index-url='https://index.example/simple'" ;;
  "-m pip install "*) echo "pip ${*: -2}" >>"$DIARY"; touch "$VENV/bin/ddx" ;;
esac
"""
UV = """
echo "uv ${*: -2} from ${UV_DEFAULT_INDEX-nowhere}" >>"$DIARY"
echo "$(dirname "$0")/" >"$(dirname "$0")/ddx"; chmod +x "$(dirname "$0")/ddx"
"""


class Machine:
    """A project folder and a PATH with nothing but stand-ins and core utilities."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "a clone"
        self.bin = folder / "bin"
        self.diary = folder / "diary"
        self.bin.mkdir()
        self.diary.write_text("")
        for name in INPUTS:
            target = self.home / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text((HOME / name).read_text())
        (self.home / "src").mkdir()
        (self.home / "src" / "ddx_environment.pth").write_text("import os\n")
        core = ("cat", "cp", "cut", "dirname", "grep", "mkdir", "mktemp", "rm", "sed", "touch")
        for name in (*core, "bash", "chmod", "sha256sum"):
            (self.bin / name).symlink_to(f"/usr/bin/{name}")

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{text}")
        path.chmod(0o755)

    def set_up(self, file: str = "requirements.txt") -> subprocess.CompletedProcess[str]:
        script = f'set -euo pipefail; . scripts/environment.sh; ddx_environment "$PWD" {file}'
        kept = {name: v for name, v in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
        return subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=self.home,
            env={
                **kept,
                "PATH": str(self.bin),
                "DIARY": str(self.diary),
                "VENV": str(self.home / ".venv"),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def did(self) -> list[str]:
        lines = self.diary.read_text().splitlines()
        self.diary.write_text("")
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if not Path("/usr/bin/sha256sum").exists():
        pytest.skip("needs coreutils in /usr/bin")
    return Machine(tmp_path)


def test_without_python_it_says_what_to_install(machine: Machine) -> None:
    done = machine.set_up()

    assert done.returncode == 1
    assert "error: there is no Python 3.11 or later." in done.stderr
    assert "advice: On Debian 12: apt-get install python3 python3-venv." in done.stderr


def test_without_pythons_venv_it_says_what_to_install_and_leaves_no_half_of_one(
    machine: Machine,
) -> None:
    machine.program("python3", PYTHON_WITHOUT_VENV)

    done = machine.set_up()

    assert done.returncode == 1
    assert "its venv module is missing" in done.stderr
    assert "apt-get install python3-venv" in done.stderr
    assert not (machine.home / ".venv").exists()


def test_it_installs_the_lock_then_the_project_and_the_next_time_nothing(
    machine: Machine,
) -> None:
    machine.program("python3", PYTHON)
    machine.program("new-uv", UV)
    index = "from https://index.example/simple"

    first, did_first = machine.set_up(), machine.did
    second, did_second = machine.set_up(), machine.did

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert did_first == [
        "venv",
        f"uv -r {machine.home}/requirements.txt {index}",
        f"uv -e {machine.home} {index}",
    ]
    assert "installing" in first.stderr
    assert did_second == []
    assert second.stderr == ""


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_a_change_of_what_is_needed_installs_again_without_a_new_venv(
    machine: Machine, name: str
) -> None:
    machine.program("python3", PYTHON)
    machine.program("new-uv", UV)
    machine.set_up()
    _ = machine.did

    (machine.home / name).write_text("# changed\n")
    done, did = machine.set_up(), machine.did

    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in did] == ["uv", "uv"]


def test_a_folder_that_was_moved_gets_a_venv_of_its_own(machine: Machine) -> None:
    machine.program("python3", PYTHON)
    machine.program("new-uv", UV)
    machine.set_up()
    _ = machine.did

    machine.home = machine.home.rename(machine.home.with_name("moved"))
    done = machine.set_up()

    assert done.returncode == 0, done.stderr
    assert ".venv was made in another folder" in done.stderr
    assert machine.did[0] == "venv"


def test_where_uv_fails_pip_goes_on(machine: Machine) -> None:
    machine.program("python3", PYTHON)
    machine.program("new-uv", "exit 1\n")

    done, did = machine.set_up(), machine.did

    assert done.returncode == 0, done.stderr
    assert did == ["venv", f"pip -r {machine.home}/requirements.txt", f"pip -e {machine.home}"]
    assert "going on with pip" in done.stderr
