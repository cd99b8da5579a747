"""`ddx keys master`: the key that wraps the records' keys."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from ddx.settings import Settings
    from ddx.wiring.master_keys import Status

_CODE = exits.EXIT_CODE
_CODES = (
    _CODE["bad_settings"],
    _CODE["journal_damaged"],
    _CODE["master_key_unavailable"],
    _CODE["wrong_master_key"],
)
_ALONE = (*_CODES, _CODE["keys_in_use"])


@click.group(
    name="master",
    epilog=exits.epilog("ddx keys master wrap\nddx keys master status --json", *_ALONE),
)
def command() -> None:
    """Wrap the records' keys under a master key, that is kept elsewhere, and rotate it.

    The settings master_key_file, master_key_env and master_key_command name it: one of them.
    """


@command.command(
    name="status",
    epilog=exits.epilog("ddx keys master status --json", exits.EXIT_NOT_OK, *_CODES[:2]),
)
@as_json
def status(*, as_json: bool) -> int:
    """Show which master key the keys are under, and which of them are plain. Changes nothing.

    Ends with 1 where they cannot be opened, or a master key is set and some are plain.
    """
    from ddx.settings import load
    from ddx.wiring import master_keys

    found = master_keys.status(load())
    ok = found.trouble is None and not (found.source and found.plain) and not found.unfinished
    if as_json:
        trouble = found.trouble.code if found.trouble else None
        print_json({"ok": ok, **asdict(replace(found, trouble=None)), "trouble": trouble})
    else:
        _show(found)
    return exits.EXIT_OK if ok else exits.EXIT_NOT_OK


@command.command(name="wrap", epilog=exits.epilog("ddx keys master wrap", *_ALONE))
@as_json
def wrap(*, as_json: bool) -> None:
    """Wrap every key that is plain, with the server and the deliverer stopped.

    The plain bytes are overwritten. Killed in the middle, every key still opens: repeat it. Backups
    of the keys from before hold them plain: destroy those once there is a new one.
    """
    from ddx.settings import load
    from ddx.wiring import master_keys

    with progress_bar("wrapping") as progress:
        count = master_keys.wrap(load(), progress=progress)
    _done(count, "wrapped", as_json=as_json)


@command.command(
    name="rotate",
    epilog=exits.epilog(
        "ddx keys master rotate --to-file new.key\nddx keys master rotate --slots", *_ALONE
    ),
)
@click.option("--to-file", type=click.Path(path_type=Path), help="File of the new master key.")
@click.option("--to-env", help="Name of the variable that holds the new master key.")
@click.option("--to-command", help="Command of the new one, in one line, split as a shell does.")
@click.option(
    "--slots",
    is_flag=True,
    help="Make a new data key, too, and wrap every key anew; the old master key may be the new"
    " one. Needs the server and the deliverer stopped.",
)
@as_json
def rotate(
    *,
    to_file: Path | None,
    to_env: str | None,
    to_command: str | None,
    slots: bool,
    as_json: bool,
) -> None:
    """Wrap the data key under another master key; the settings still name the old one.

    One small file changes, whatever the number of records, while everything runs. Name the new one
    in the settings then: what is started with the old one is refused. Where the old master key was
    seen by somebody, add --slots: who kept an old copy of ddx_data/keys has the data key, too.
    """
    from ddx.settings import load
    from ddx.wiring import master_keys

    settings = load()
    new = _named(settings, to_file, to_env, to_command)
    if new is None and not slots:
        raise click.UsageError("name the new one: --to-file, --to-env or --to-command")
    with progress_bar("wrapping") as progress:
        count = master_keys.rotate(settings, new or settings, slots=slots, progress=progress)
    if slots or as_json:
        _done(count, "wrapped anew", as_json=as_json)
    if new is not None and not as_json:
        click.echo("The data key is under the new master key alone: name that in the settings now.")


@command.command(name="unwrap", epilog=exits.epilog("ddx keys master unwrap --yes", *_ALONE))
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
@as_json
def unwrap(*, yes: bool, as_json: bool) -> int:
    """Keep the keys plain again, with the server and the deliverer stopped.

    Take the master key out of the settings then, or the next new file is wrapped.
    """
    if not yes and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here: add --yes to keep the keys plain")
    from ddx.settings import load
    from ddx.wiring import master_keys

    settings = load()
    if not yes and not click.confirm("Keep the records' keys plain on this disk?", default=False):
        return exits.EXIT_NOT_OK
    with progress_bar("unwrapping") as progress:
        count = master_keys.unwrap(settings, progress=progress)
    _done(count, "plain again", as_json=as_json)
    return exits.EXIT_OK


def _named(
    settings: Settings, file: Path | None, variable: str | None, line: str | None
) -> Settings | None:
    """Return settings that name the new master key; None where none is named."""
    import shlex

    if sum(bool(one) for one in (file, variable, line)) > 1:
        raise click.UsageError("name one new master key")
    try:
        words = tuple(shlex.split(line or ""))
    except ValueError as error:
        raise click.UsageError(f"--to-command: {error}") from error
    if not (file or variable or words):
        return None
    return replace(
        settings,
        master_key_file=str(file.absolute()) if file else "",
        master_key_env=variable or "",
        master_key_command=words,
    )


def _done(count: int, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "files": count})
    else:
        click.echo(f"{count} files {what}")


def _show(found: Status) -> None:
    click.echo(f"master key set: {found.source or 'none'}" + _id(found.at_hand))
    click.echo(f"keys are under: {found.wanted or 'none, they are plain'}")
    if found.trouble:
        click.echo(f"not opened:     {found.trouble}")
    rows = [(one.file, one.data_key or "plain", one.keys) for one in found.files]
    print_table(("file", "data key", "keys"), rows)
    if found.source and found.plain:
        click.echo(f"{len(found.plain)} of them are plain: `ddx keys master wrap`")
    for left in found.unfinished:
        click.echo(f"left by a command that was killed: {left}; repeat that")


def _id(id: str | None) -> str:
    return f" ({id})" if id else ""
