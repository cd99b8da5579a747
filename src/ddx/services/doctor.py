"""Look at everything an installation needs. A look never changes anything.

The facts are gathered by adapters; here each becomes a `Check`: is it as it should be, and
what to do where it is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ddx.core.chain import Walk
from ddx.errors import DdxError
from ddx.ports import Check, JournalReader

OLDEST_MLFLOW = (3, 16, 1)
"""Before it: a default administrator's password, and six published vulnerabilities."""
TESTED_REVISION = "dc11669786a5"
"""Of MLflow's tables, in the version that this program is tested with."""
_WALKED = 1000


def examine(looks: Mapping[str, Callable[[], Check]]) -> list[Check]:
    """Take each look; one that fails is itself a finding, and hides none of the others."""
    found = []
    for name, look in looks.items():
        try:
            found.append(look())
        except DdxError as error:
            found.append(Check(name=name, ok=False, found=str(error), advice=error.advice))
        except Exception as error:  # a doctor survives what it finds
            found.append(
                Check(
                    name=name,
                    ok=False,
                    found=f"the look itself failed: {type(error).__name__}: {error}",
                    advice="Check the rights on its files, then look again.",
                )
            )
    return found


def port(name: str, number: int, holder: str | None, *, ours: bool, missing: str | None) -> Check:
    """Judge a port: free, or held by our own process which answers."""
    if holder is None:
        return Check(name=name, ok=True, found=f"port {number} is free: not running")
    if not ours:
        return Check(
            name=name,
            ok=False,
            found=holder,
            advice="Stop that process, or choose another port in ddx.toml.",
        )
    if missing:
        return Check(
            name=name,
            ok=False,
            found=f"{holder}; {missing}",
            advice="Wait while it starts; its log in ddx_data/logs says what it does.",
        )
    return Check(name=name, ok=True, found=f"{holder}; it answers")


def modes(open_to_others: Sequence[str]) -> Check:
    """Judge who may read the records."""
    if not open_to_others:
        return Check(name="modes", ok=True, found="folders and files are private")
    return Check(
        name="modes",
        ok=False,
        found="open to other users: " + ", ".join(open_to_others),
        advice="They hold patient data: `chmod go-rwx` them. `ddx up` does so at start.",
    )


def database(
    *, exists: bool, trouble: str | None, revision: str | None, where: str, file: bool = True
) -> Check:
    """Judge MLflow's database, which is a file or behind a server."""
    if not exists:
        return Check(name="MLflow database", ok=True, found=f"not made yet: {where}")
    if trouble:
        return Check(
            name="MLflow database",
            ok=False,
            found=f"{where}: {trouble}",
            advice="Keep the file as it is; every run can be delivered again from the journal."
            if file
            else "Start the database or correct db_uri: delivery goes on by itself.",
        )
    tested = "" if revision == TESTED_REVISION else f", not the tested {TESTED_REVISION}"
    return Check(
        name="MLflow database", ok=True, found=f"{where}: sound, revision {revision}{tested}"
    )


def mlflow_version(version: str | None) -> Check:
    """Judge the installed MLflow.

    >>> mlflow_version("3.17.2").ok, mlflow_version("3.9.0").ok
    (True, False)
    """
    if version is None:
        return Check(
            name="MLflow version",
            ok=False,
            found="MLflow is not installed",
            advice="Install the extra `tracking`.",
        )
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    oldest = ".".join(map(str, OLDEST_MLFLOW))
    return Check(
        name="MLflow version",
        ok=numbers >= OLDEST_MLFLOW,
        found=version,
        advice=f"Install {oldest} or later: earlier ones have known vulnerabilities.",
    )


def journal(reader: JournalReader) -> Check:
    """Judge a journal by the chain over its newest events; `ddx verify` walks all of it."""
    last = reader.last_seq()
    walk = Walk(reader.journal_id)
    first = max(0, last - _WALKED)
    if first:
        (before,) = reader.chained(first - 1, 1)
        walk.seq, walk.link = before.header.seq, before.link
    for event in reader.chained(first, _WALKED):
        broken = walk.step(event)
        if broken is not None:
            return Check(
                name=f"journal {reader.instance}",
                ok=False,
                found=f"event {broken.seq}: {broken.why}",
                advice="Keep the files as they are, and run `ddx verify`.",
            )
    return Check(
        name=f"journal {reader.instance}",
        ok=True,
        found=f"{last} events, the last {min(last, _WALKED)} of them checked",
    )


def disk(free_bytes: int, reserve_bytes: int) -> Check:
    """Judge the room on the journal's disk."""
    return Check(
        name="disk",
        ok=free_bytes > reserve_bytes,
        found=f"{free_bytes // 2**20:,} MiB free, {reserve_bytes // 2**20:,} kept in reserve",
        advice="Free some space: requests get 503 below the reserve.",
        detail={"free_bytes": free_bytes, "reserve_bytes": reserve_bytes},
    )


def backlog(
    *, waiting: int, quarantined: int, deliverer: int | None, error_code: str | None
) -> Check:
    """Judge delivery to MLflow: `waiting` events, and the deliverer's process where one runs."""
    running = "no deliverer runs" if deliverer is None else f"the deliverer is pid {deliverer}"
    found = f"{waiting} events wait, {quarantined} records refused, {running}"
    advice = ""
    if quarantined:
        advice = "MLflow refused records; they are kept in the journal. See the deliverer's log."
    elif error_code:
        found += f", its last try failed ({error_code})"
        advice = "Delivery goes on by itself once the cause is gone; see the deliverer's log."
    elif waiting and deliverer is None:
        advice = "Start `ddx up`, or `ddx deliver`."
    return Check(name="backlog", ok=not advice, found=found, advice=advice)


def keys(
    variables: Mapping[str, Sequence[str]], present: Callable[[str], bool], default_model: str
) -> Check:
    """Judge the API keys: only the default model's must be there.

    `variables`: the name of each variable, and the models that need it.
    """
    absent = {name: models for name, models in variables.items() if not present(name)}
    there = [name for name in variables if name not in absent]
    said = [f"{name} (for {', '.join(models)})" for name, models in absent.items()]
    return Check(
        name="keys",
        ok=not any(default_model in models for models in absent.values()),
        found=f"set: {', '.join(there) or 'none'}; not set: {', '.join(said) or 'none'}",
        advice=f"The default model {default_model} has no key: set its variable.",
    )
