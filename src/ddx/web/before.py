"""What is seen to before a server is started, alone or with workers."""

from __future__ import annotations

from ddx.errors import PortInUse
from ddx.settings import Settings
from ddx.web import tls
from ddx.wiring import launch, vaults
from ddx.wiring.callers import check_address, issuer
from ddx.wiring.privacy import masker
from ddx.wiring.serving import check_programs, set_up_logs


def check(settings: Settings) -> None:
    """See that a server can be started, before anything is opened.

    Raises MissingExtra, BadProgram, UnsafeAddress, MasterKeyUnavailable, WrongMasterKey and
    PortInUse.
    """
    set_up_logs(settings)
    check_parts(settings)
    tls.check(settings)
    holder = launch.port_holder(settings.host, settings.port)
    if holder is not None:
        raise PortInUse(holder[0].upper() + holder[1:] + ".")


def check_parts(settings: Settings) -> None:
    """See that a server's parts can be had, whoever opens its port. Raises as `check`."""
    masker(settings)
    check_programs(settings)
    check_address(settings)
    issuer(settings)
    vaults.check(settings)
