"""What the documents name exists: commands and linked files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ddx.cli import COMMANDS
from ddx.cli.exits import EXIT_CODE, EXIT_INTERRUPTED, EXIT_NOT_OK, EXIT_OK, EXIT_USAGE

HOME = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*HOME.glob("*.md"), *HOME.glob("docs/**/*.md")])
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"(?<![\w.-])ddx +([a-z]+)\b")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FILE = re.compile(
    r"`((?:src|tests|bench|scripts|docs)/[\w/.-]+)`|python -m ((?:bench|tests)[\w.]+)"
)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def commands(text: str) -> set[str]:
    """Return each word that follows `ddx` in code."""
    return {word for code in _CODE.findall(text) for word in _COMMAND.findall(code)}


def links(text: str) -> set[str]:
    """Return each link target that is not an address on the web."""
    found = _LINK.findall(_CODE.sub("", text))
    return {target for target in found if not re.match(r"[a-z]+:", target)}


def files(text: str) -> set[str]:
    """Return each file of this project, or folder, that a document names, modules too."""
    return {path or f"{module.replace('.', '/')}.py" for path, module in _FILE.findall(text)}


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = (re.sub(r"[`*]", "", title).strip() for title in _HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_commands_links_and_anchors_are_found_where_they_stand() -> None:
    text = (
        "# One `ddx` thing\nPlain ddx words. `ddx doctor --json`, `./ddx_server.py`\n"
        "```bash\n.venv/bin/ddx predict -f x\nddx --help\n```\n"
        "[a](docs/x.md#y) and [b](https://example.org) but `[c](not/one.md)`\n"
    )

    assert commands(text) == {"doctor", "predict"}
    assert links(text) == {"docs/x.md#y"}
    assert anchors(text) == {"one-ddx-thing"}
    assert files("`src/ddx/x.py` and `python -m bench.y`") == {"src/ddx/x.py", "bench/y.py"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(HOME)))
def test_every_command_that_a_document_names_exists(document: Path) -> None:
    assert commands(document.read_text()) <= COMMANDS.keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(HOME)))
def test_every_link_between_documents_resolves(document: Path) -> None:
    for target in links(document.read_text()):
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), f"{target} of {document.name}"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{target} of {document.name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(HOME)))
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        return  # It tells of what was, too.
    assert [name for name in files(document.read_text()) if not (HOME / name).exists()] == []


def test_the_readme_says_each_exit_code() -> None:
    table = (HOME / "README.md").read_text().partition("### Exit codes")[2].partition("\n## ")[0]
    said: set[int] = set()
    for cell in re.findall(r"^\| ([\d, to]+) \|", table, re.MULTILINE):
        first, _, last = cell.partition(" to ")
        said |= set(range(int(first), int(last) + 1)) if last else set(map(int, cell.split(",")))
    assert set(EXIT_CODE.values()) | {EXIT_OK, EXIT_NOT_OK, EXIT_USAGE, EXIT_INTERRUPTED} <= said
