"""Which form a file of cases has, and its cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ddx.adapters.casesets.ddxplus_text import Evidences
from ddx.adapters.casesets.fields import Line, common_case
from ddx.adapters.casesets.phenopackets import phenopacket_case
from ddx.adapters.casesets.public import agentclinic_case, craftmd_case, ddxplus_case
from ddx.core.caseset import Case, CaseSet
from ddx.core.phenopacket import is_phenopacket
from ddx.errors import BadCases

FORMS = (
    "JSON lines, a case each: id, case_text (or present and absent HPO ids, sex, age; or"
    " DDXPlus evidences), truth {name, ids}",
    "CSV or TSV with the same columns, lists separated by |, and truth, truth_ids",
    "a folder of GA4GH phenopackets (JSON, version 2), or one of them",
    "CRAFT-MD's CSV, DDXPlus's release_…_patients, AgentClinic's OSCE JSON lines",
)
_LIST_COLUMNS = ("present", "absent", "evidences", "truth_ids")
_TRUE, _FALSE = {"1", "true", "yes"}, {"0", "false", "no"}
_FLAG_COLUMNS = ("in_kb", "pmid_in_kb", "name_in_text", "answer_is_known_disease")


def read(path: Path, evidences: Callable[[], Evidences]) -> CaseSet:
    """Read the cases of a file or folder, whose form is seen from its content.

    `evidences` gives DDXPlus's meanings, asked only where codes come without a text. Raises
    BadCases, which names the file and the line.
    """
    try:
        cases = tuple(_cases(path, evidences))
    except FileNotFoundError:
        raise BadCases(f"there is no file or folder {path}") from None
    except UnicodeDecodeError:
        raise BadCases(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise BadCases(f"{error.filename or path} cannot be read: {error.strerror}") from error
    if not cases:
        raise BadCases(f"{path} holds no case")
    return CaseSet(name=path.resolve().stem, cases=cases)


def _cases(path: Path, evidences: Callable[[], Evidences]) -> Iterator[Case]:
    places: dict[str, str] = {}
    for where, case in _located(path, evidences):
        if case.id in places:
            raise BadCases(f"{where}: the id of this case is also at {places[case.id]}")
        places[case.id] = where
        yield case


def _located(path: Path, evidences: Callable[[], Evidences]) -> Iterator[tuple[str, Case]]:
    """Yield (file and line, case)."""
    if path.is_dir():
        yield from _folder(path)
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        if not first.lstrip().startswith(("{", "[")):
            file.seek(0)
            yield from _table(path, file, "\t" if "\t" in first else ",", evidences)
            return
    if _whole_document(path, first):
        yield (
            str(path),
            phenopacket_case(Line(_json(path.read_bytes(), str(path)), str(path)), path.stem),
        )
        return
    with path.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, start=1):
            if text.strip():
                line = Line(_json(text, f"{path}, line {number}"), f"{path}, line {number}")
                if "OSCE_Examination" in line.values:
                    yield line.where, agentclinic_case(line, number - 1)
                else:
                    yield line.where, common_case(line, evidences)


def _whole_document(path: Path, first: str) -> bool:
    """Whether the file is one JSON document of a phenopacket, on one line or many."""
    try:
        return is_phenopacket(json.loads(first))
    except ValueError:
        pass
    try:
        return is_phenopacket(json.loads(path.read_bytes()))
    except ValueError:
        return False


def _folder(path: Path) -> Iterator[tuple[str, Case]]:
    files = sorted(path.rglob("*.json"))
    if not files:
        raise BadCases(f"the folder {path} holds no .json file")
    for file in files:
        values = _json(file.read_bytes(), str(file))
        if not is_phenopacket(values):
            raise BadCases(f"{file} is no phenopacket: it has no `phenotypicFeatures`")
        yield str(file), phenopacket_case(Line(values, str(file)), file.stem)


def _table(
    path: Path, file: Any, separator: str, evidences: Callable[[], Evidences]
) -> Iterator[tuple[str, Case]]:
    rows = csv.DictReader(file, delimiter=separator, strict=True)
    head = set(rows.fieldnames or ())
    number = 0
    try:
        for number, values in enumerate(rows):
            line = Line(values, f"{path}, line {rows.line_num}")
            if None in values or None in values.values():
                raise line.wrong(f"the row does not have {len(head)} columns")
            if {"case_vignette", "answer"} <= head:
                yield line.where, craftmd_case(line)
            elif {"EVIDENCES", "PATHOLOGY"} <= head:
                yield line.where, ddxplus_case(line, number, evidences)
            elif {"id", "truth"} <= head:
                yield line.where, common_case(_from_columns(line), evidences)
            else:
                raise BadCases(f"{path}, line 1: the columns `id` and `truth` are missing")
    except csv.Error as error:
        raise BadCases(f"{path}, line {rows.line_num}: {error}") from error


def _from_columns(line: Line) -> Line:
    """Return a row of a table in the form of a JSON line."""
    values: dict[str, Any] = {name: value for name, value in line.values.items() if value != ""}
    for name in _LIST_COLUMNS:
        if name in values:
            values[name] = [part.strip() for part in values[name].split("|") if part.strip()]
    for name in _FLAG_COLUMNS:
        if name in values:
            word = values[name].strip().lower()
            if word not in _TRUE | _FALSE:
                raise line.wrong(f"`{name}` must be true or false")
            values[name] = word in _TRUE
    if values.get("age", "").isdecimal():
        values["age"] = int(values["age"])
    values["truth"] = {"name": values.get("truth", ""), "ids": values.pop("truth_ids", [])}
    return Line(values, line.where)


def _json(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        # Its own text can quote the line.
        place = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadCases(f"{where}: this is not JSON{place}") from None
    if not isinstance(values, dict):
        raise BadCases(f"{where}: a case must be a JSON object")
    return values
