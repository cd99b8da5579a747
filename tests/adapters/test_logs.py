"""Log lines: JSON, with what a request is known by, and no text that may quote a case."""

from __future__ import annotations

import json
import subprocess
import sys

CANARY = "Zebrawood"
SAYING = f"""
import asyncio, gc, logging, threading, warnings
from ddx.adapters import logs

logs.set_up("debug")
log = logging.getLogger("ddx")
token = logs.request_fields.set({{"request_id": "r1"}})
log.info("ours", extra={{"event": "said", "nothing": None}})
logs.request_fields.reset(token)
log.info("between requests")

logging.getLogger("openai._base_client").debug("Request options: %s", "{CANARY}")
logging.getLogger("some.library").error("{CANARY}", extra={{"body": "{CANARY}"}})
warnings.warn("input_value={CANARY}")
try:
    raise ValueError("{CANARY}")
except ValueError:
    log.exception("caught")

def fail():
    raise LookupError("{CANARY}")

thread = threading.Thread(target=fail)
thread.start()
thread.join()

class Ends:
    def __del__(self):
        raise OSError("{CANARY}")

Ends()

async def left_alone():
    task = asyncio.create_task(asyncio.to_thread(fail))
    await asyncio.wait([task])

asyncio.run(left_alone())
gc.collect()
raise KeyError("{CANARY}")
"""


def test_whatever_is_said_is_a_json_line_without_words_that_are_not_ours() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAYING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert CANARY not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    told = [(one["level"], one["message"], one.get("exception")) for one in lines]
    assert told == [
        ("info", "ours", None),
        ("info", "between requests", None),
        ("debug", "openai._base_client says something", None),
        ("error", "some.library says something", None),
        ("debug", "a library warns", None),
        ("error", "caught", "ValueError"),
        ("error", "unforeseen fault", "LookupError"),
        ("error", "unforeseen fault", "OSError"),
        ("error", "asyncio says something", "LookupError"),
        ("error", "unforeseen fault", "KeyError"),
    ]
    assert lines[0].items() >= {"event": "said", "request_id": "r1"}.items()
    assert "request_id" not in lines[1]
    assert "nothing" not in lines[0]
    assert lines[3]["where"] == ["<string>:13"]
    assert lines[4]["kind"] == "UserWarning"
    assert all(one["where"] for one in lines[5:])
