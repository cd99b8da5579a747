"""Start the DDx server alone: `python ddx_server.py` is `ddx serve`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Serve with the settings beside this file, from wherever it is started."""
    os.environ.setdefault("DDX_HOME", str(HERE))
    try:
        from ddx.cli import main as ddx
    except ModuleNotFoundError:
        python = HERE / ".venv" / "bin" / "python"
        if not python.exists() or Path(sys.prefix) == HERE / ".venv":
            sys.exit("ddx is not installed. Run ./start_mlflow_and_server.sh once: it installs it.")
        os.execv(python, [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])
    ddx(["serve", *sys.argv[1:]])


if __name__ == "__main__":
    main()
