"""Ask before money is spent."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ddx.errors import NotAgreed

if TYPE_CHECKING:
    from ddx.core.spending import Spending


def agree(spending: Spending, *, yes: bool) -> None:
    """Say what it would cost, and ask. Raises NotAgreed."""
    from ddx.core.spending import said

    click.echo(f"{said(spending)}.", err=True)
    if spending.free or yes:
        return
    if not sys.stdin.isatty():
        raise NotAgreed("this may cost money, and there is no terminal to ask on")
    if not click.confirm("Go on?", err=True):
        raise NotAgreed("nothing was asked")
