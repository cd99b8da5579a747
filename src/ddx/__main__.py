"""`python -m ddx`: the command line, for processes that we start ourselves."""

from ddx.cli import main

if __name__ == "__main__":
    main()
