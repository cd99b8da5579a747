from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.make import an_id

from ddx.adapters.delivery_state import DeliveryStatusReader, SqliteDeliveryState
from ddx.core.delivery import Delivery, Place, State
from ddx.errors import DeliveryInUse


def a_delivery(seq: int = 1, **changes: object) -> Delivery:
    values = {"state": State.OPENING, "changed_ms": 5} | changes
    return Delivery(journal_id="j", seq=seq, prediction_id=an_id(), **values)  # type: ignore[arg-type]


def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    place = Place(journal_id="j", cursor=3, door="client", look_below=9, resend_below=1)
    opening = a_delivery(4)
    opened = a_delivery(
        5, state=State.OPENED, run_id="r", attempts=2, error_code="mlflow_unavailable"
    )
    with SqliteDeliveryState(tmp_path) as state:
        state.set_place(place)
        state.put([opened])
        state.take(opening)
    with SqliteDeliveryState(tmp_path) as state:
        assert state.deliveries({State.OPENING, State.OPENED}, 10) == [opening, opened]
        assert state.deliveries({State.OPENED}, 10) == [opened]
        found = state.place("j")
        assert found is not None
        assert found.cursor == 4
        state.acknowledge("j", 2, [opening.prediction_id])
        assert state.place("j") == found, "a cursor never moves back"
        assert state.deliveries(set(State), 10) == [opened]


def test_only_one_process_delivers(tmp_path: Path) -> None:
    with (
        SqliteDeliveryState(tmp_path),
        pytest.raises(DeliveryInUse, match=f"process {os.getpid()}"),
    ):
        SqliteDeliveryState(tmp_path)
    SqliteDeliveryState(tmp_path).close()


def test_the_lease_of_a_killed_process_is_free(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from ddx.adapters.delivery_state import SqliteDeliveryState\n"
        "state = SqliteDeliveryState(pathlib.Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert DeliveryStatusReader(tmp_path).holder() == child.pid
        with pytest.raises(DeliveryInUse, match=f"process {child.pid}"):
            SqliteDeliveryState(tmp_path)
        child.send_signal(signal.SIGKILL)
    assert DeliveryStatusReader(tmp_path).holder() is None
    SqliteDeliveryState(tmp_path).close()


def test_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with SqliteDeliveryState(data) as state:
        state.put([a_delivery()])
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        for path in data.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_another_process_sees_progress_and_trouble(tmp_path: Path) -> None:
    reader = DeliveryStatusReader(tmp_path)
    assert reader.status().alive_ms == 0
    assert reader.status().cursors == {}
    with SqliteDeliveryState(tmp_path) as state:
        os.utime(tmp_path / "delivery.lock", (1, 1))
        state.set_place(Place(journal_id="j", cursor=7, door="bulk"))
        waits, refused = a_delivery(1), a_delivery(2, state=State.QUARANTINED)
        state.put([waits, refused, a_delivery(3, state=State.ACKNOWLEDGED)])
        state.alive("mlflow_unavailable")
        status = reader.status()
        assert status.error_code == "mlflow_unavailable"
        assert status.alive_ms == 1000, "a failure is no sign of progress"
        assert (status.aside, status.quarantined) == (1, 1)
        assert status.oldest_aside == waits.prediction_id
        assert status.cursors == {"j": 7}
        assert reader.deliveries({State.QUARANTINED}, 10) == [refused]
        state.alive(None)
        assert reader.status().error_code is None
        assert reader.status().alive_ms == pytest.approx(time.time() * 1000, abs=10_000)
        assert reader.place("j") == state.place("j")


def test_a_damaged_file_is_put_aside_and_begun_anew(tmp_path: Path) -> None:
    with SqliteDeliveryState(tmp_path) as state:
        state.set_place(Place(journal_id="j", door="bulk"))
    (tmp_path / "delivery.db").write_bytes(b"no database at all " * 1000)
    with SqliteDeliveryState(tmp_path) as state:
        assert state.place("j") is None
    assert len(list(tmp_path.glob("delivery.db.damaged-*"))) == 1


def test_forgetting_leaves_nothing(tmp_path: Path) -> None:
    with SqliteDeliveryState(tmp_path) as state:
        state.set_place(Place(journal_id="j", door="bulk"))
        state.put([a_delivery()])
        state.forget()
        assert state.place("j") is None
        assert not state.deliveries(set(State), 10)
