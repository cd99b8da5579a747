"""`ddx knowledge`: what the embedded engine knows, and how it is given more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ddx.cli import exits
from ddx.cli.output import as_json, print_json, print_table, size

if TYPE_CHECKING:
    from ddx.adapters.knowledge import KnowledgeBase

_CODES = (
    exits.EXIT_CODE["bad_settings"],
    exits.EXIT_CODE["missing_extra"],
    exits.EXIT_CODE["bad_knowledge"],
)
_CHANGES = (*_CODES, exits.EXIT_CODE["knowledge_in_use"])


@click.group(
    name="knowledge",
    invoke_without_command=True,
    epilog=exits.epilog(
        "ddx knowledge\nddx knowledge --json\nddx knowledge add ../packs/mondo", *_CODES
    ),
)
@as_json
@click.pass_context
def command(context: click.Context, *, as_json: bool) -> None:
    """Show what the embedded engine knows, from where and by whose leave; add more to it."""
    if context.invoked_subcommand is None:
        from ddx.settings import load
        from ddx.wiring import knowledge

        _show(knowledge.in_force(load()), as_json=as_json)


@command.command(
    name="add", epilog=exits.epilog("ddx knowledge add ../packs/mondo --json", *_CHANGES)
)
@click.argument("folder", type=click.Path(path_type=Path))
@as_json
def add(folder: Path, *, as_json: bool) -> None:
    """Check the known files of FOLDER and use them from now on.

    A file replaces an added one of the same name. A running server takes the change up within
    10 seconds; until then it answers with what it has.
    """
    from ddx.settings import load
    from ddx.wiring import knowledge

    _show(knowledge.add(load(), folder), as_json=as_json)


@command.command(
    name="remove",
    epilog=exits.epilog(
        "ddx knowledge remove disease_texts.jsonl.gz\nddx knowledge remove", *_CHANGES
    ),
)
@click.argument("names", nargs=-1)
@as_json
def remove(names: tuple[str, ...], *, as_json: bool) -> None:
    """Use added files no longer: those of these NAMES, or all. Your originals stay as they are."""
    from ddx.settings import load
    from ddx.wiring import knowledge

    _show(knowledge.remove(load(), names), as_json=as_json)


@command.command(
    name="update",
    epilog=exits.epilog(
        "ddx knowledge update", *_CHANGES, exits.EXIT_CODE["knowledge_unreachable"]
    ),
)
@as_json
def update(*, as_json: bool) -> None:
    """Fetch the official releases of Mondo and of the HPO, verify them, and use them from now on.

    Where one of them cannot be fetched or is not sound, nothing changes. The settings mondo_url
    and hpo_url say where they are.
    """
    from ddx.settings import load
    from ddx.wiring import knowledge

    _show(knowledge.update(load(), _progress), as_json=as_json)


def _progress(name: str, done: int, whole: int | None) -> None:
    if sys.stderr.isatty():
        of = f" of {size(whole)}" if whole else ""
        click.echo(f"\r\033[K{name}: {size(done)}{of}", nl=done == whole, err=True)


def _show(base: KnowledgeBase, *, as_json: bool) -> None:
    found = _described(base)
    if as_json:
        print_json(found)
        return
    print_table(
        ("source", "version", "licence"),
        [(one["source"], one["version"], one["licence"]) for one in found["sources"]],
    )
    click.echo()
    print_table(
        ("count", "of"), [(f"{number:,}", name) for name, number in found["counts"].items()]
    )
    if found["added"]:
        click.echo()
        print_table(
            ("added file", "size", "holds", "added at"),
            [
                (
                    one["name"],
                    size(one["size_bytes"]),
                    ", ".join(f"{number:,} {what}" for what, number in one["counts"].items()),
                    one["added_at"],
                )
                for one in found["added"]
            ],
        )
    click.echo(f"\n{found['acknowledgement']}")


def _described(base: KnowledgeBase) -> dict[str, Any]:
    from dataclasses import asdict

    said = base.engine.describe()
    return {
        "digest": said.digest,
        "version": said.version,
        "sources": [asdict(one) for one in said.sources],
        "counts": dict(said.counts),
        "added": [] if base.shelf is None else [asdict(one) for one in base.shelf.items],
        "added_digest": None if base.shelf is None else base.shelf.digest,
        "acknowledgement": said.licence,
    }
