"""`ddx` in a process that dies, as by kill -9, the n-th time it comes to a named moment.

python -m tests.faults.dying MOMENT N serve|deliver|keys …
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

from ddx.cli import main
from ddx.services.deliver import Deliverer
from ddx.services.predict import Predictor
from ddx.wiring import delivering, master_keys, serving


def arm(moment: str, times: int) -> None:
    """Let this process end at a moment, without a last word."""
    left = times

    def at(name: str) -> None:
        nonlocal left
        left -= name == moment
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    vars(serving)["Predictor"] = partial(Predictor, at=at)
    vars(delivering)["Deliverer"] = partial(Deliverer, at=at)
    for change in (master_keys.wrap, master_keys.unwrap, master_keys.rotate):
        vars(master_keys)[change.__name__] = partial(change, at=at)


if __name__ == "__main__":
    _, moment, times, *words = sys.argv
    arm(moment, int(times))
    sys.argv = ["ddx", *words]
    main()
