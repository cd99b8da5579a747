"""`--engine ray`: a real cluster of two nodes, which die under the work, and its driver too."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ddx.adapters.ray_cluster import RayCluster
from ddx.adapters.ray_cluster.cluster import one_machine, set_up_loopback
from ddx.cli import run
from ddx.cli.exits import EXIT_CODE
from ddx.errors import ClusterUnavailable
from ddx.settings import load
from ddx.wiring import evaluating, work
from ddx.wiring.cluster import RAY

CANARY = "Zanzibarquokka"
TRUTH = {"name": "Marfan syndrome", "ids": ["OMIM:154700"]}
SIGNS = [
    *("HP:0001166", "HP:0001083", "HP:0002616", "HP:0000767", "HP:0001382", "HP:0000545"),
    *("HP:0001250", "HP:0001263", "HP:0000252", "HP:0001903", "HP:0002240", "HP:0001945"),
]
CASES = 96
Cli = Callable[..., tuple[int, str, str]]


@dataclass
class Nodes:
    """The cluster, and the folder of all that Ray writes."""

    cluster: Any
    folder: Path
    free: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add(self) -> Any:
        """Add a node of one processor."""
        ports = one_machine(self.free["object_store_memory"])
        return self.cluster.add_node(num_cpus=1, **ports)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes on this machine. Ray reads its environment once, when it is loaded."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    set_up_loopback()
    utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra `ray`")
    # A short name: sockets lie in it.
    folder = Path("/tmp") / f"ddx-test-{os.getpid()}"
    os.environ["RAY_TMPDIR"] = str(folder)
    (folder / "ray").mkdir(parents=True, mode=0o700)
    found = Nodes(utils.Cluster(), folder, {"object_store_memory": 80 * 2**20})
    found.cluster.add_node(num_cpus=1, temp_dir=str(folder / "ray"), **one_machine(80 * 2**20))
    found.add()
    try:
        yield found
    finally:
        found.cluster.shutdown()
        subprocess.run(["rm", "-rf", folder], check=True)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cases of findings, no two alike, and some texts."""
    luck = random.Random(7)
    made: list[dict[str, Any]] = [
        {"id": f"c{n:03}", "present": luck.sample(SIGNS, 3 + n % 5), "truth": TRUTH}
        for n in range(CASES)
    ]
    for n in range(0, CASES, 12):
        made[n] = {
            "id": f"t{n:03}",
            "case_text": f"{CANARY} has long fingers and ectopia lentis.",
            "truth": TRUTH,
        }
    path = tmp_path_factory.mktemp("cases") / "reese_made.jsonl"
    path.write_text("".join(json.dumps(case) + "\n" for case in made))
    return path


@pytest.fixture
def home(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    (tmp_path / "ddx_data").mkdir(mode=0o700)
    (tmp_path / "ddx_data" / "cache").symlink_to(cache)
    return tmp_path


@pytest.fixture
def ddx(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run_it(*arguments: object) -> tuple[int, str, str]:
        code = run([*map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the answers of a results file, without how long they took."""
    lines = (folder / "results.jsonl").read_text().splitlines()[1:]
    return [{**json.loads(line), "duration_s": None} for line in lines]


def figures(out: str) -> dict[str, Any]:
    """Return what `--json` prints, without times and places."""
    values = json.loads(out)
    for name in ("cost", "folder", "plan", "mlflow_run_id"):
        values.pop(name)
    return dict(values)


@pytest.fixture
def alone(ddx: Cli, home: Path, cases: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Figures and answers of one process."""
    code, out, err = ddx("evaluate", cases, "--no-mlflow", "--json", "--out", home / "alone")
    assert (code, err) == (0, "")
    return figures(out), rows(home / "alone")


def test_two_nodes_give_the_figures_of_one_process_to_the_digit_and_keep_no_case(
    ddx: Cli, home: Path, cases: Path, nodes: Nodes, alone: Any
) -> None:
    code, out, err = ddx(
        "evaluate", cases, "--engine", "ray", "--ray-address", nodes.address,
        "--no-mlflow", "--json", "--out", home / "ray",
    )  # fmt: skip

    assert (code, err) == (0, "")
    assert json.loads(out)["plan"]["through"] == "Ray"
    assert (figures(out), rows(home / "ray")) == alone
    assert alone[0]["answered"] > CASES / 2
    said = list((nodes.folder / "ray").rglob("*"))
    assert [path for path in said if path.name.startswith("worker-")]
    assert [p for p in said if p.is_file() and CANARY.encode() in p.read_bytes()] == []


def test_a_node_that_dies_in_the_middle_costs_no_case_and_doubles_none(
    home: Path, cases: Path, nodes: Nodes, alone: Any
) -> None:
    victim = nodes.add()
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        if not told:
            nodes.cluster.remove_node(victim, allow_graceful=False)
        told.append(done)

    options = evaluating.Options(
        cases=cases, model="knowledge", repeat=2, engine=RAY, mlflow=False, out=home / "ray"
    )
    settings = load({**os.environ, "DDX_RAY_ADDRESS": nodes.address})
    found = evaluating.run(settings, options, progress)

    assert told == list(range(1, 2 * CASES + 1))
    assert rows(home / "ray")[:CASES] == alone[1]
    assert {(row.case_id, row.attempt) for row in found.rows} == {
        (row["case_id"], attempt) for row in alone[1] for attempt in (1, 2)
    }


def test_a_driver_that_is_killed_leaves_what_another_goes_on_with(
    ddx: Cli, home: Path, cases: Path, nodes: Nodes, alone: Any
) -> None:
    words = ["evaluate", cases, "--engine", "ray", "--ray-address", nodes.address, "--no-mlflow"]
    results = home / "ray" / "results.jsonl"
    command = [sys.executable, "-m", "ddx", *words, "--repeat", 5, "--out", home / "ray"]
    driver = subprocess.Popen([*map(str, command)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not results.exists() or results.read_text().count("\n") < 20:
        assert driver.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    kept = rows(home / "ray")
    assert len(kept) < 5 * CASES

    code, out, err = ddx(*words, "--repeat", 5, "--json", "--resume", home / "ray")

    assert (code, err) == (0, "")
    assert json.loads(out)["n"] == CASES
    now = rows(home / "ray")
    assert len(now) == len({(row["case_id"], row["attempt"]) for row in now}) == 5 * CASES
    assert now[:CASES] == alone[1]
    assert all(row in now for row in kept[:40])


def dies_once(setup: bytes, piece: bytes) -> bytes:
    mark = Path(piece.decode())
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return b"done"


def dies(setup: bytes, piece: bytes) -> bytes:
    os._exit(1)


def fails(setup: bytes, piece: bytes) -> bytes:
    raise ValueError(piece.decode())


def test_a_piece_outlives_its_process_and_one_that_kills_is_given_up_without_its_words(
    tmp_path: Path, nodes: Nodes
) -> None:
    cluster = RayCluster(nodes.address)
    try:
        until = time.monotonic() + 60
        while cluster.workers(dies_once, b"").slots != 2:  # a node that died is counted a while
            assert time.monotonic() < until
            time.sleep(0.2)
        mark = str(tmp_path / "mark").encode()
        assert cluster.workers(dies_once, b"").submit(mark).result() == b"done"
        for function in (dies, fails):
            with pytest.raises(ClusterUnavailable) as caught:
                cluster.workers(function, b"").submit(CANARY.encode()).result()
            assert CANARY not in str(caught.value)
        large = b"x" * 200_000
        assert cluster.workers(dies_once, large).submit(mark).result() == b"done"
    finally:
        cluster.close()


def test_work_travels_by_its_name() -> None:
    ray = pytest.importorskip("ray", reason="needs the extra `ray`")
    for function in (work.asked, work.answered):
        pickled = ray.cloudpickle.dumps(function)
        assert len(pickled) < 100
        assert function.__name__.encode() in pickled
        assert b"co_" not in pickled


def test_each_cell_of_a_sweep_is_asked_there(
    ddx: Cli, home: Path, cases: Path, nodes: Nodes
) -> None:
    words = ["sweep", cases, "--setting", "genetics,emergency", "--limit", 20, "--no-mlflow"]
    _, here, _ = ddx(*words, "--json", "--out", home / "here")
    code, out, err = ddx(
        *words, "--json", "--out", home / "ray", "--engine", "ray", "--ray-address", nodes.address
    )

    assert code == 0, err
    cells = [json.loads(text)["cells"] for text in (here, out)]
    assert len(cells[1]) == 2
    for one, other in zip(*cells, strict=True):
        assert (one["top_1"], one["mrr"]) == (other["top_1"], other["mrr"])


def test_a_replay_is_kept_in_the_journal_of_who_asks_and_the_ledger_is_made_again_here(
    ddx: Cli, home: Path, nodes: Nodes
) -> None:
    first = "Fever for 3 days, severe headache, pain behind the eyes and a petechial rash."
    old = json.loads(ddx("predict", first, "--json")[1])["prediction_id"]

    code, out, err = ddx(
        "replay", old, "--top", 3, "--json", "--engine", "ray", "--ray-address", nodes.address
    )

    (found,) = json.loads(out)
    assert (code, err) == (0, "")
    assert found["replay_of"] == old
    assert found["same_first"] is True
    assert len(found["after"]["ranking"]) == 3

    # A process of its own: it starts a cluster, whatever the setting says, and leaves nothing.
    done = subprocess.run(
        [sys.executable, "-m", "ddx", "ledger", "rebuild", "--engine", "ray", "--json"],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "DDX_RAY_ADDRESS": "127.0.0.1:9",
            "TMPDIR": str(nodes.folder),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"rows": 2}
    by_ray = ddx("report", "--by", "model", "--json")[1]
    assert ddx("ledger", "rebuild", "--json")[0] == 0
    assert ddx("report", "--by", "model", "--json")[1] == by_ray
    assert list(nodes.folder.glob("ddx-*")) == []


def test_a_cluster_that_is_not_there_is_said_at_once(ddx: Cli, cases: Path) -> None:
    for address in ("127.0.0.1:9", "nowhere"):
        code, out, err = ddx(
            "evaluate", cases, "--no-mlflow", "--engine", "ray", "--ray-address", address
        )
        assert (code, out) == (EXIT_CODE["cluster_unavailable"], "")
        assert address in err
    assert ddx("evaluate", cases, "--ray-address", "auto")[0] == 2
    assert ddx("evaluate", cases, "--engine", "ray", "--server", "http://127.0.0.1:9")[0] == 2
