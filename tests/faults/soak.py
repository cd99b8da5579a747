"""Kill processes of a whole installation under load, again and again, and count what is missing.

`scripts/soak` runs it. Clients post with trackers and retry as a middleware does; server and
deliverer (and now and then MLflow) get a kill -9 at random moments; then everything that clients
were told is compared with what MLflow holds, and `ddx verify` reads the journals.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.middleware import Middleware
from tests.system.stack import Reply, Stack, check, running

CLIENTS = 4
RATE = {"bulk": 40.0, "client": 3.0}
"""Requests a second, by door: a door must keep up, or the end is a long wait."""
CASE = "A 24-year-old man has had fever for 3 days, with joint pain and a rash. Visit {}."


@dataclass
class Load:
    """Clients that post until told to stop."""

    stack: Stack
    rate: float
    told: list[Reply] = field(default_factory=list)
    unanswered: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for client in range(CLIENTS):
            self._threads.append(threading.Thread(target=self._post, args=(client,)))
            self._threads[-1].start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _post(self, client: int) -> None:
        caller = Middleware(self.stack, wait_s=120, model_name="instant")
        number = 0
        while not self._stop.is_set():
            number += 1
            name = f"{client}-{number}"
            try:
                self.told.append(caller.predict(CASE.format(name), tracker=f"soak-{name}"))
            except Exception as error:
                print(f"client {client}: {type(error).__name__}", flush=True)
                self.unanswered += 1
            self._stop.wait(CLIENTS / self.rate * random.uniform(0.5, 1.5))


def kill_at_random(stack: Stack, kills: int, with_mlflow: bool) -> Counter[str]:
    """Kill server or deliverer `kills` times, and MLflow now and then.

    Mostly while they work, and at times while they start; but a server that is killed at each
    start would answer nobody, so it is let work in between.
    """
    done: Counter[str] = Counter()
    while done["server"] + done["deliverer"] < kills:
        if random.random() < 0.8:
            stack.wait(lambda: stack.get("/healthz").status == 200, 120)
        time.sleep(random.uniform(0.0, 2.5))
        name = random.choice(("server", "deliverer"))
        if with_mlflow and random.random() < 0.03:
            name = "MLflow"
        if stack.pid(name) is None:
            continue  # it is still being started again
        stack.kill(name)
        done[name] += 1
        if sum(done.values()) % 20 == 0:
            print(f"killed so far: {dict(done)}", flush=True)
    return done


def settle(stack: Stack, told: list[Reply], within_s: float) -> tuple[list[str], str]:
    """Wait until nothing is wrong any more, or for long enough; return what is wrong for the
    clients, and what `ddx verify` finds.
    """
    end_at = time.monotonic() + within_s
    faults, differs = ["MLflow does not answer"], ""
    while time.monotonic() < end_at:
        with suppress(Exception):
            faults = check(stack, told, stack.runs())
            differs = "" if faults else verify(stack)
            if not faults and not differs:
                break
        time.sleep(2)
    return faults, differs


def verify(stack: Stack) -> str:
    """Return what `ddx verify` prints where it finds a difference."""
    names = {"DDX_HOME": str(stack.home), "DDX_MLFLOW_PORT": str(stack.mlflow_port)}
    done = subprocess.run(
        [sys.executable, "-m", "ddx", "verify"],
        env={**os.environ, **stack.environment, **names},
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def one_door(door: str, kills: int, seed: int) -> Counter[str]:
    """Soak one door; return what was counted."""
    random.seed(f"{seed}-{door}")
    environment = {
        "DDX_BENCH_MODELS": "1",
        "DDX_DEFAULT_MODEL": "instant",
        "DDX_DELIVERY": door,
    }
    with (
        tempfile.TemporaryDirectory(prefix="ddx-soak-") as folder,
        running(Path(folder), **environment) as stack,
    ):
        load = Load(stack, RATE[door])
        load.start()
        count = kill_at_random(stack, kills, with_mlflow=True)
        load.stop()
        faults, differs = settle(stack, load.told, within_s=300)
    for line in [*faults[:20], *differs.splitlines()[:20]]:
        print(line)
    kinds = ("lost", "doubled", "left RUNNING")
    count.update({kind: sum(line.endswith(kind) for line in faults) for kind in kinds})
    count["incomplete"] = len(faults) - sum(count[kind] for kind in kinds)
    count["unanswered"] = load.unanswered
    count["answers"] = sum(reply.status == 200 for reply in load.told)
    count["verify differs"] = int(bool(differs))
    return count


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--kills", type=int, default=300, help="of server and deliverer, in all")
    options.add_argument("--doors", default="bulk,client")
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    doors, began, total = asked.doors.split(","), time.monotonic(), Counter[str]()
    for door in doors:
        count = one_door(door, -(-asked.kills // len(doors)), asked.seed)
        print(f"{door} door: {dict(count)}", flush=True)
        total += count
    bad = ("lost", "doubled", "incomplete", "left RUNNING", "verify differs")
    print(
        f"{total['server'] + total['deliverer']} kills ({total['server']} of the server,"
        f" {total['deliverer']} of the deliverer; {total['MLflow']} of MLflow besides) in"
        f" {(time.monotonic() - began) / 60:.0f} min, {total['answers']} answers told:"
        f" {', '.join(f'{total[kind]} {kind}' for kind in bad)}"
    )
    sys.exit(any(total[kind] for kind in bad))


if __name__ == "__main__":
    main()
