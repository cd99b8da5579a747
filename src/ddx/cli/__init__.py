"""The command line. `ddx --help` loads this file and click, and nothing of the rest."""

from __future__ import annotations

import importlib
import sys

import click

from ddx import __version__
from ddx.cli import exits
from ddx.errors import DdxError

COMMANDS = {
    "up": "Start MLflow, the server and the deliverer; keep them running.",
    "serve": "Run the server alone.",
    "deliver": "Bring journal records to MLflow.",
    "predict": "Ask for one differential, without a server.",
    "report": "Count successes, time, tokens and cost, by time and setting.",
    "ledger": "Show, rebuild or verify the rows that reports are made of.",
    "evaluate": "Measure a model on cases whose truth is known.",
    "sweep": "Measure models, prompts and settings against each other.",
    "optimize": "Compile a model's program on cases, and measure it.",
    "replay": "Ask logged cases again, otherwise; show both rankings.",
    "export": "Write cases with their true diagnoses into a file.",
    "models": "List the models and which of them can answer now.",
    "prompts": "List the prompt configurations, or show one.",
    "config": "Show the settings in force and where each comes from.",
    "doctor": "Look at everything this installation needs; change nothing.",
    "verify": "Compare journals, MLflow and kept checkpoints.",
    "backup": "Back everything up while it runs, or check a backup.",
    "restore": "Make an installation out of a backup, and prove it.",
    "db": "Show or upgrade the revision of MLflow's tables.",
    "migrate": "Move MLflow's rows or files to another store.",
    "erase": "Erase predictions for ever; say what remains.",
    "retain": "Erase what is older than a number of days.",
    "archive": "Take old runs out of MLflow's tables, or bring them back.",
    "audit": "Show who looked at which prediction.",
    "keys": "Make and revoke API keys; wrap the records' own keys.",
    "knowledge": "Show what the embedded engine knows; add to it, update it.",
    "reset": "Delete all local data, after offering a backup and asking.",
}
"""Name -> one line of help. The module `ddx.cli.<name>` holds `command`."""


class LazyGroup(click.Group):
    """A group that imports a command when it runs or shows its own help, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"ddx.cli.{cmd_name}").command
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands from the table above: click itself would import each."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Each command has --help with an example and its exit codes.",
)
@click.version_option(__version__, prog_name="ddx")
def ddx() -> None:
    """Differential diagnoses, with every request kept in MLflow."""


def main(args: list[str] | None = None) -> None:
    """Run one command and exit with its code."""
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = ddx.main(args=args, prog_name="ddx", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DdxError as error:
        return exits.report(error)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return exits.EXIT_INTERRUPTED
    except Exception as error:
        # Its traceback; in a process that logs, a line without its text, which may quote a case.
        sys.excepthook(type(error), error, error.__traceback__)
        return exits.report_unforeseen()
    return code if isinstance(code, int) else 0
