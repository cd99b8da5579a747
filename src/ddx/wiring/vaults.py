"""The vault of an installation's keys, from settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ddx.adapters.vault import CommandMaster, FileVault, KeptMaster, Master, from_file, from_text
from ddx.errors import MasterKeyUnavailable
from ddx.settings import Settings


def vault(settings: Settings) -> FileVault:
    """Return what wraps and opens the keys. The master key is read when it is first needed."""
    return FileVault(settings.data / "keys", master(settings))


def master(settings: Settings) -> Callable[[], Master] | None:
    """Return what gets the master key; None where the settings name none."""
    if settings.master_key_file:
        file = settings.home / settings.master_key_file
        return lambda: KeptMaster(from_file(file))
    if settings.master_key_env:
        return partial(_from_variable, settings)
    if settings.master_key_command:
        return lambda: CommandMaster(
            settings.master_key_command, folder=settings.home, environment=settings.environment
        )
    return None


def source(settings: Settings) -> str:
    """Say where the master key comes from; empty where the settings name none."""
    if settings.master_key_file:
        return f"file {settings.home / settings.master_key_file}"
    if settings.master_key_env:
        return f"variable {settings.master_key_env}"
    return f"command {settings.master_key_command[0]}" if settings.master_key_command else ""


def check(settings: Settings) -> None:
    """See that the records' keys can be opened, before anything is.

    Raises MasterKeyUnavailable, WrongMasterKey.
    """
    vault(settings).check()


def with_master_of(settings: Settings, other: Settings) -> Settings:
    """Return settings with the master key that another installation's name.

    Where those name none, their own; the variables are the other's in any case.
    """
    found = replace(settings, environment=other.environment)
    if master(other) is None:
        return found
    file = other.master_key_file and str(other.home / other.master_key_file)
    words = other.master_key_command
    if words and "/" in words[0]:
        words = (str(other.home / words[0]), *words[1:])
    return replace(
        found,
        master_key_file=file,
        master_key_env=other.master_key_env,
        master_key_command=words,
    )


def with_file(settings: Settings, file: Path) -> Settings:
    """Return settings whose master key is in this file."""
    return replace(settings, master_key_file=str(file), master_key_env="", master_key_command=())


def _from_variable(settings: Settings) -> Master:
    name = settings.master_key_env
    line = settings.environment.get(name)
    if not line:
        raise MasterKeyUnavailable(f"the variable {name}, which holds the master key, is not set")
    return KeptMaster(from_text(line, f"the variable {name}"))
