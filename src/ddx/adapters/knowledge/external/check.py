"""One look into a file before it is taken."""

from __future__ import annotations

import zlib
from pathlib import Path

from ddx.adapters.knowledge.external.kinds import HPOA, KINDS, OBO, Found
from ddx.adapters.knowledge.sources import Sources, read_version
from ddx.errors import BadKnowledge, MissingExtra

_DAMAGED = (OSError, EOFError, zlib.error, ValueError, KeyError, IndexError)
"""What reading a damaged file raises; BadGzipFile and UnicodeDecodeError are among them."""


def check(path: Path) -> Found:
    """Read a file whole and say what it holds.

    Raises BadKnowledge where it is damaged, not what its name says, or an HPO file that is older
    than the one that the program carries.
    """
    try:
        found = KINDS[path.name].look(path)
    except _DAMAGED as error:
        raise BadKnowledge(f"{path.name} cannot be read: {type(error).__name__}.") from error
    if path.name in (OBO, HPOA):
        carried = _carried(path.name)
        if (found.version or "") < carried:
            raise BadKnowledge(
                f"{path.name} is of {found.version}, older than the {carried} that is here."
            )
    return found


def _carried(name: str) -> str:
    try:
        sources = Sources.installed()
    except MissingExtra:
        return ""
    return read_version(sources.obo if name == OBO else sources.hpoa)
