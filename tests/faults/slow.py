"""`python -m tests.faults.slow SECONDS …`: the program, with an engine that takes so long.

Each question leaves a line in the file `asked` of the installation's folder.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from ddx import cli
from ddx.adapters.instant_engine import InstantEngine
from ddx.core.record import EngineAnswer, Request

if __name__ == "__main__":
    wait_s = float(sys.argv[1])
    answer = InstantEngine.ask

    async def ask(self: InstantEngine, request: Request, deadline_s: float) -> EngineAnswer:
        with (Path(os.environ["DDX_HOME"]) / "asked").open("a") as file:
            file.write(f"{request.case}\n")
        await asyncio.sleep(wait_s)
        return await answer(self, request, deadline_s)

    InstantEngine.ask = ask  # type: ignore[method-assign]
    sys.exit(cli.run(sys.argv[2:]))
