"""`--engine` and `--ray-address`: where a command has its cases asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ddx.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])
_PLACES = ("process", "ray")

on_ray = click.option(
    "--engine",
    type=click.Choice(_PLACES),
    default="process",
    show_default=True,
    help="Work in this process, or as tasks of a Ray cluster.",
)


def engine(command: Command) -> Command:
    """Add both options."""
    address = click.option(
        "--ray-address",
        metavar="ADDRESS",
        help="host:port of the cluster, or auto; default: the setting ray_address, else a"
        " cluster of this machine's processors that ends with the command.",
    )
    return on_ray(address(command))


def at(settings: Settings, engine: str, ray_address: str | None) -> Settings:
    """Return the settings with the address that was named. Raises UsageError."""
    if ray_address is None:
        return settings
    if engine != "ray":
        raise click.UsageError("--ray-address goes with --engine ray")
    return replace(settings, ray_address=ray_address)
