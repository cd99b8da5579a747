"""Kill parts of a cluster of two nodes under load, and count what is missing.

`scripts/scale-faults` runs it. Two Ray nodes of this machine, each with a data folder of its own,
share one PostgreSQL, for MLflow's store and for the claims of trackers. Clients post with trackers
and retry as a middleware does, while a replica, then a whole node, then a deliverer are killed and
the database is restarted. The dead node comes back on its folder. Then all is drained, and what
clients were told is compared with what MLflow holds, and `ddx verify` reads the journals.

The proxy stands on the head alone: two nodes of one machine cannot both have the port.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.postgres import USER, NoPostgres, _program, a_postgres
from tests.system.stack import Reply, Stack, check, free_port

from ddx.adapters import processes

RETRIED = (500, 502, 503, 504)
NODES = ("a", "b")
REPLICAS = 4
CASE = "A 24-year-old man has had fever for 3 days, with joint pain and a rash. Visit {}."
WAIT_S = 300
_STORE = 80 * 2**20


class Site(Stack):
    """What the clients ask, and the MLflow store that all nodes share."""

    store: str = ""

    def client(self) -> Any:
        """Return MLflow's own client, on the database."""
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.store)


def tried(start: Callable[[], Any]) -> Any:
    """Start a node; again, where a busy machine was slower than Ray waits for it."""
    for left in reversed(range(5)):
        try:
            return start()
        except Exception:
            if not left:
                raise
    raise AssertionError("unreachable")


@dataclass
class Nodes:
    """The cluster. Its head has the proxy; the others have replicas."""

    cluster: Any
    home: Path
    running: dict[str, Any] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a node on its folder, new or of before."""
        from ddx.adapters.ray_cluster.cluster import one_machine

        self.running[name] = tried(
            lambda: self.cluster.add_node(
                num_cpus=1, env_vars=self.environment(name), **one_machine(_STORE)
            )
        )

    def environment(self, name: str) -> dict[str, str]:
        """Return what a node has of its own."""
        kept = f"checkpoints-{name}"
        return {"DDX_DATA_DIR": self.data(name), "DDX_CHECKPOINTS_DIR": kept}

    def data(self, name: str) -> str:
        """Return the data folder of a node."""
        return str(self.home / name)

    def pids(self, name: str, word: str = "") -> list[int]:
        """Return a node's processes whose command line holds a word."""
        return [
            pid
            for pid in processes.pids()
            if processes.environment_of(pid).get("DDX_DATA_DIR") == self.data(name)
            and word in processes.command_of(pid)
        ]

    def kill(self, name: str, word: str = "", most: int = 1000) -> int:
        """Kill -9; return how many."""
        found = self.pids(name, word)[:most]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def kill_node(self, name: str) -> None:
        """Kill all processes of a node at once, as a power cut does; its disk stays."""
        self.kill(name)
        self.cluster.remove_node(self.running.pop(name), allow_graceful=False)
        self.kill(name)


@dataclass
class Load:
    """Clients that post so many requests, each until it is answered."""

    port: int
    requests: int
    told: list[Reply] = field(default_factory=list)
    unanswered: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    _next: Iterator[int] = field(default_factory=lambda: iter(()))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, connections: int) -> list[threading.Thread]:
        """Start; return the threads to wait for."""
        self._next = iter(range(self.requests))
        threads = [threading.Thread(target=self._client) for _ in range(connections)]
        for thread in threads:
            thread.start()
        return threads

    def ask(self, number: int) -> Reply | None:
        """Post one request with its tracker until it is answered."""
        give_up_at = time.monotonic() + WAIT_S
        body = {"case": CASE.format(number), "tracker": f"t-{number}", "model_name": "instant"}
        while time.monotonic() < give_up_at:
            try:
                reply = _post(self.port, body)
            except (OSError, http.client.HTTPException) as error:
                why = type(error).__name__
            else:
                if reply.status not in RETRIED:
                    return reply
                with suppress(ValueError, KeyError, AttributeError):
                    why = f"{reply.status} {reply.json()['code']}"
            with self._lock:
                self.retries[why] += 1
            time.sleep(random.uniform(0.2, 0.6))
        return None

    def _client(self) -> None:
        while True:
            with self._lock:
                number = next(self._next, None)
            if number is None:
                return
            reply = self.ask(number)
            with self._lock:
                if reply is None or reply.status != 200:
                    self.unanswered += 1
                else:
                    self.told.append(reply)


def _post(port: int, body: dict[str, str]) -> Reply:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(
            "POST", "/predict/v1", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, answer.read(), found)


@contextmanager
def serving(home: Path, store: str) -> Iterator[tuple[Site, Nodes]]:
    """Two nodes with replicas of the server behind one proxy."""
    from ddx.adapters.ray_cluster import proxy
    from ddx.adapters.ray_cluster.cluster import one_machine, set_up_loopback

    port = free_port()
    (home / "claims.key").write_bytes(secrets.token_bytes(32))
    (home / "mlflow_server_config.py").write_text(
        f"db_uri = {store!r}\nartifacts_path = {str(home / 'artifacts')!r}\n"
    )
    os.environ.update(
        DDX_HOME=str(home),
        DDX_PORT=str(port),
        DDX_WORKERS=str(REPLICAS),
        DDX_RAY_NODE_REPLICAS=str(REPLICAS // len(NODES)),
        DDX_BENCH_MODELS="1",
        DDX_DEFAULT_MODEL="instant",
        DDX_DELIVERY="bulk",
        DDX_CLAIMS_URI=store.replace("+psycopg", ""),
        DDX_CLAIMS_KEY_FILE=str(home / "claims.key"),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_TMPDIR=str(home / "r"),
        # A node that is silent for so long is dead.
        RAY_health_check_period_ms="1000",
    )
    set_up_loopback()
    (home / "r" / "ray").mkdir(parents=True, mode=0o700)
    proxy.close_in(home, b'{"code": "interrupted"}')
    import ray
    from ray import cluster_utils

    from ddx.adapters.ray_cluster import replicas
    from ddx.web.replicas import app

    def head() -> Any:
        cluster = cluster_utils.Cluster()
        cluster.add_node(num_cpus=0, temp_dir=str(home / "r" / "ray"), **one_machine(_STORE))
        return cluster

    nodes = Nodes(tried(head), home)
    try:
        for name in NODES:
            nodes.start(name)
        ray.init(address=nodes.cluster.address, log_to_driver=False)
        replicas.run(app(), replicas.Address(host="127.0.0.1", port=port, every_node=False))
        site = Site(home, port, 0)
        site.store = store
        (home / "up.log").touch()
        yield site, nodes
        replicas.end(whole=True)
    finally:
        with suppress(Exception):
            ray.shutdown()
        nodes.cluster.shutdown()
        processes.kill_of(str(home))
        for name in NODES:
            nodes.kill(name)


def faults(nodes: Nodes, load: Load, postgres: Path) -> Counter[str]:
    """Do each harm once, at its part of the requests; return what was done."""
    done: Counter[str] = Counter()

    def reached(part: float) -> None:
        while len(load.told) + load.unanswered < part * load.requests:
            time.sleep(0.02)

    reached(0.15)
    done["replica"] = nodes.kill("a", "ray::ServeReplica:ddx:web", most=1)
    say(load, "a replica is killed")
    reached(0.3)
    nodes.kill_node("b")
    done["node"] = 1
    say(load, "a node is killed")
    reached(0.45)
    nodes.start("b")
    say(load, "it is back on its folder")
    reached(0.6)
    done["deliverer"] = nodes.kill("a", "ddx deliver")
    say(load, "a deliverer is killed")
    reached(0.75)
    restart(postgres)
    done["database"] = 1
    say(load, "the database is restarted")
    return done


def say(load: Load, what: str) -> None:
    """Tell how far it is."""
    print(f"after {len(load.told)} answers: {what}; {dict(load.retries)}", flush=True)


def restart(folder: Path) -> None:
    """Stop PostgreSQL as a crash does, and start it again as it was."""
    command = [_program("pg_ctl"), "-D", f"{folder}/data", "-m", "immediate", "-w"]
    words = [*command, "-l", f"{folder}/log", "restart"]
    subprocess.run(words, user=USER, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def settle(site: Site, nodes: Nodes, told: list[Reply]) -> tuple[list[str], list[str]]:
    """Wait until MLflow holds all; return what is wrong for the clients, and what verify finds."""
    end_at = time.monotonic() + WAIT_S + len(told) / 50
    wrong, differs = ["MLflow does not answer"], list[str]()
    while time.monotonic() < end_at:
        with suppress(Exception):
            wrong = check(site, told, site.runs())
            differs = [] if wrong else verify(nodes)
            if not wrong and not differs:
                break
        time.sleep(3)
    return wrong, differs


def verify(nodes: Nodes) -> list[str]:
    """Return the differences that `ddx verify` finds on each node, which has asked the others for
    the ids of theirs.
    """
    found = list[str]()
    with tempfile.TemporaryDirectory() as folder:
        lists = {name: Path(folder) / f"{name}.ids" for name in NODES}
        for name, file in lists.items():
            found += _verify(nodes, name, "--no-mlflow", "--ids-to", str(file))
        for name in NODES:
            others = [("--others", str(file)) for of, file in lists.items() if of != name]
            found += _verify(nodes, name, *(word for pair in others for word in pair))
    return found


def _verify(nodes: Nodes, name: str, *options: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ddx", "verify", "--json", *options],
        env={**os.environ, **nodes.environment(name)},
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout:
        return [f"no answer on {name}: {done.stderr}"]
    differences = json.loads(done.stdout)["differences"]
    return [f"{one['fault']}: {one['where']} {one['what']}" for one in differences]


def run(requests: int, connections: int) -> Counter[str]:
    """Do it; return what was counted."""
    # A short name: sockets lie in it.
    with tempfile.TemporaryDirectory(prefix="ddx-f", dir="/tmp") as folder:
        home, postgres = Path(folder) / "h", Path(folder) / "pg"
        Path(folder).chmod(0o711)
        home.mkdir(mode=0o700)
        postgres.mkdir()
        with a_postgres(postgres) as store, serving(home, store) as (site, nodes):
            load = Load(site.port, requests)
            began_s = time.monotonic()
            threads = load.run(connections)
            count = faults(nodes, load, postgres)
            for thread in threads:
                thread.join()
            took_s = time.monotonic() - began_s
            say(load, f"all are answered, in {took_s:.0f} s")
            again = [load.ask(number) for number in range(0, requests, 50)]
            bodies = {reply.id: reply.body for reply in load.told}
            other = sum(one is None or bodies.get(one.id) != one.body for one in again)
            wrong, differs = settle(site, nodes, load.told)
    for line in [*wrong[:20], *differs[:20]]:
        print(line)
    kinds = ("lost", "doubled", "left RUNNING")
    count.update({kind: sum(line.endswith(kind) for line in wrong) for kind in kinds})
    count["incomplete"] = len(wrong) - sum(count[kind] for kind in kinds)
    count["verify differences"] = len(differs)
    count["unanswered"], count["other answer"] = load.unanswered, other
    count["answers"] = len(load.told)
    return count


def main() -> None:
    """Read the command line; end with 1 where something is missing."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--requests", type=int, default=20_000)
    options.add_argument("--connections", type=int, default=64)
    asked = options.parse_args()
    try:
        count = run(asked.requests, asked.connections)
    except NoPostgres as error:
        sys.exit(f"error: {error}")
    harm = ("replica", "node", "deliverer", "database")
    bad = (
        *("lost", "doubled", "incomplete", "left RUNNING"),
        *("verify differences", "unanswered", "other answer"),
    )
    missing = [kind for kind in harm if not count[kind]]
    print(
        f"{count['answers']} answers told, killed or restarted {', '.join(harm)}:"
        f" {', '.join(f'{count[kind]} {kind}' for kind in bad)}"
        + (f"; not harmed: {', '.join(missing)}" if missing else "")
    )
    sys.exit(any(count[kind] for kind in bad) or bool(missing))


if __name__ == "__main__":
    main()
