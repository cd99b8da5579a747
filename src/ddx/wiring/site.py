"""What `ddx reset` would delete and stop, from the settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from ddx.adapters import folders, processes
from ddx.adapters.database_facts import sqlite_facts
from ddx.adapters.sqlite_journal import SqliteJournalReader, find_journals
from ddx.errors import DdxError, SettingsError
from ddx.services.reset import Loss
from ddx.settings import Settings, mask_uri
from ddx.wiring import launch

_OURS = ("up", "serve", "deliver")
_STOP_WITHIN_S = 60.0
_SIDECARS = ("", "-journal", "-wal", "-shm")
"""Endings of the files that SQLite keeps beside a database."""


class LocalSite:
    """A Site made of local files. Raises SettingsError where the data folder holds the home."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Resolved: "..", or a link, leads as surely to the project as its own name.
        if settings.home.is_relative_to(settings.data.resolve()):
            raise SettingsError(
                f"data_dir is {settings.data}, which holds the project: it is not deleted"
            )

    def losses(self) -> Sequence[Loss]:
        """Return journals and keys, MLflow's SQLite file, and its runs' artifacts."""
        return [
            Loss(what=what, place=str(place), size_bytes=sum(map(folders.bytes_in, paths)))
            for what, place, paths in self._things()
        ]

    def kept(self) -> Sequence[str]:
        """Say which parts of MLflow are not ours to delete."""
        settings = self._settings
        if not launch.starts_mlflow(settings):
            return [f"MLflow at {mask_uri(settings.tracking_uri)}: it is not ours"]
        found = []
        if launch.sqlite_file(settings) is None:
            found.append(f"the database {mask_uri(settings.db_uri)}: not a local file of ours")
        if launch.artifact_folder(settings) is None:
            found.append(f"the artifacts in {mask_uri(settings.artifacts_path)}: not local")
        return found

    def running(self) -> Sequence[int]:
        """Return the processes of this installation; the supervisor first."""
        found = {pid: role for pid in processes.pids() if (role := self._role(pid))}
        recorded = self._recorded()
        if recorded is not None:
            found[recorded] = "up"
        return sorted(found, key=lambda pid: (found[pid] != "up", pid))

    def strangers(self) -> Sequence[str]:
        """Say who else has one of the files open."""
        paths = [str(path) for *_, paths in self._things() for path in paths]
        return [
            processes.said(pid)
            for pid in processes.pids()
            if pid != os.getpid()
            and any(
                file == path or file.startswith(f"{path}/")
                for file in processes.open_files(pid)
                for path in paths
            )
        ]

    def said(self, pid: int) -> str:
        """Say a process."""
        return processes.said(pid)

    def stop(self, pid: int) -> bool:
        """Ask it to end; a supervisor takes its children with it."""
        return processes.stop(pid, _STOP_WITHIN_S)

    def delete(self, loss: Loss) -> None:
        """Delete one thing, and MLflow's folders where nothing else is in them."""
        paths = next(paths for _, place, paths in self._things() if str(place) == loss.place)
        for path in paths:
            folders.delete(path)
        # The inner ones first.
        for folder in reversed(launch.private_folders(self._settings)):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _things(self) -> Iterator[tuple[str, Path, list[Path]]]:
        """Yield (what, place, files and folders) of each thing that is there."""
        settings = self._settings
        if settings.data.exists():
            events = f"journals, keys, delivery state and logs ({self._events()} events)"
            yield events, settings.data, [settings.data]
        if not launch.starts_mlflow(settings):
            return
        artifacts = launch.artifact_folder(settings)
        if artifacts is not None and artifacts.is_dir():
            # MLflow's own layout: a folder for each experiment, named by its number. Anything
            # else in that folder is not from here, whatever artifacts_path points to.
            ours = sorted(path for path in artifacts.iterdir() if path.name.isdecimal())
            if ours:
                yield "artifacts of runs", artifacts, ours
        database = launch.sqlite_file(settings)
        if database is not None and database.exists():
            runs = sqlite_facts(database).runs
            counted = "not countable" if runs is None else str(runs)
            files = [database.with_name(database.name + end) for end in _SIDECARS]
            yield f"MLflow's runs ({counted})", database, [f for f in files if f.exists()]

    def _events(self) -> str:
        count = 0
        for instance in find_journals(self._settings.data):
            try:
                with closing(SqliteJournalReader(self._settings.data, instance)) as reader:
                    count += reader.last_seq()
            except DdxError:
                return "an unknown number of"
        return str(count)

    def _recorded(self) -> int | None:
        """Return the supervisor that ddx_data/up.pid names, if it is still one."""
        try:
            pid = int(json.loads((self._settings.data / launch.PID_FILE).read_text())["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if role_in(processes.command_of(pid).split()) == "up" else None

    def _role(self, pid: int) -> str | None:
        """Return what a process is here: up, serve, deliver or mlflow; None: not ours."""
        if pid == os.getpid():
            return None
        home = str(self._settings.home)
        named = processes.environment_of(pid).get("DDX_HOME")
        if home != (named or processes.folder_of(pid)):
            return None
        return role_in(processes.command_of(pid).split())


def role_in(words: list[str]) -> str | None:
    """Read a role from a command line.

    >>> role_in(["python", "-m", "ddx", "serve"]), role_in(["/x/.venv/bin/ddx", "up"])
    ('serve', 'up')
    >>> role_in(["python", "ddx_server.py"]), role_in(["vim", "ddx"])
    ('serve', None)
    """
    if "ddx.adapters.mlflow_server" in words:
        return "mlflow"
    if "ddx.adapters.local_llm" in words:
        return "local-llm"
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name = Path(word).name
        if name == "ddx_server.py":
            return "serve"
        if name == "ddx" and following in _OURS:
            return following
    return None
