"""What `privacy = "mask"` finds and what it misses: `python -m bench.privacy [CASES …]`.

Prints, for each kind, how many of the marked places of `tests/adapters/privacy_cases.txt` are
masked whole, and what is masked beside them, there and in clinical text without anybody. CASES
are files as `ddx evaluate` reads them: of those, what is masked is only counted, by kind.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ddx.adapters.privacy import PatternMasker
from ddx.core.masking import Place

HOME = Path(__file__).resolve().parent.parent
MARKED = HOME / "tests" / "adapters" / "privacy_cases.txt"
KEPT = HOME / "tests" / "adapters" / "privacy_kept.txt"
_MARK = re.compile(r"\{(\w+)\|([^}]*)\}")


@dataclass(slots=True)
class Found:
    """What came of the marked cases."""

    there: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, str]] = field(default_factory=list)
    """(kind, text) of what is not masked, or not whole."""
    lost: list[str] = field(default_factory=list)
    """Text that is masked and is not marked."""


def lines(path: Path) -> list[str]:
    """Return the cases of a file."""
    text = path.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def marks(line: str) -> tuple[str, list[tuple[int, int, str]]]:
    """Return a case without its marks, and (start, end, kind) of each.

    >>> marks("Mr {name|Rao}, 45")
    ('Mr Rao, 45', [(3, 6, 'name')])
    """
    parts: list[str] = []
    found: list[tuple[int, int, str]] = []
    at = size = 0
    for match in _MARK.finditer(line):
        parts.append(line[at : match.start()])
        size += len(parts[-1])
        found.append((size, size + len(match[2]), match[1]))
        parts.append(match[2])
        size += len(match[2])
        at = match.end()
    return "".join([*parts, line[at:]]), found


def measured(masker: PatternMasker, cases: list[str]) -> Found:
    """Return how the marked cases fare."""
    found = Found()
    for line in cases:
        text, marked = marks(line)
        places = masker.places(text)
        hidden = _letters(text, [(one.start, one.end) for one in places])
        wanted = _letters(text, [(start, end) for start, end, _ in marked])
        for start, end, kind in marked:
            found.there[kind] += 1
            if _letters(text, [(start, end)]) <= hidden:
                found.masked[kind] += 1
            else:
                found.missed.append((kind, text[start:end]))
        found.lost += [text[p.start : p.end] for p in places if _beyond(text, p, wanted)]
    return found


def _letters(text: str, places: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in places for at in range(start, end) if text[at].isalnum()}


def _beyond(text: str, place: Place, wanted: set[int]) -> bool:
    return not _letters(text, [(place.start, place.end)]) <= wanted


def main() -> None:
    """Print the table."""
    masker = PatternMasker(["IN"])
    found = measured(masker, lines(MARKED))
    print(f"{len(lines(MARKED))} cases with marks; masked whole, of how many:")
    for kind, there in sorted(found.there.items()):
        print(f"  {kind:15} {found.masked[kind]:3} of {there}")
    print(f"  {'all':15} {found.masked.total():3} of {found.there.total()}")
    for kind, text in found.missed:
        print(f"missed: {kind}: {text}")
    kept = measured(masker, lines(KEPT))
    for text in [*found.lost, *kept.lost]:
        print(f"masked and should stay: {text}")
    print(f"{len(lines(KEPT))} clinical lines without anybody: {len(kept.lost)} places masked")
    for name in sys.argv[1:]:
        _counted(masker, Path(name))


def _counted(masker: PatternMasker, path: Path) -> None:
    from ddx.adapters.casesets import read, read_evidences

    counts: Counter[str] = Counter()
    cases = [case.text for case in read(path, partial(read_evidences, None)).cases if case.text]
    started_s = time.process_time()
    touched = 0
    for text in cases:
        _, masked = masker(text)
        counts.update(masked)
        touched += bool(masked)
    each_ms = (time.process_time() - started_s) / max(1, len(cases)) * 1000
    print(f"{path.name}: {len(cases)} cases, {touched} with a label, {each_ms:.2f} ms each")
    print(f"  {dict(counts)}")


if __name__ == "__main__":
    main()
