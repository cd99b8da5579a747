"""What the tracking server of somebody else can do, from the settings."""

from __future__ import annotations

from ddx.adapters.mlflow_runs import looking, trying
from ddx.errors import DdxError
from ddx.ports import Check
from ddx.services import tracking_server
from ddx.settings import Settings, mask_uri
from ddx.settings.stores import check_installed


def checks(settings: Settings, *, make: bool = False) -> list[Check]:
    """Ask it, changing nothing but that `make` makes the experiment where it is missing.

    Takes seconds: MLflow's client is loaded.
    """
    try:
        check_installed(settings.tracking_uri)
        facts = looking.look(settings.tracking_uri, settings.experiments_in, make=make)
        store = (facts.artifact_location or "").partition("://")[0]
        check_installed(f"{store}://")
    except DdxError as error:
        return [Check(name="MLflow", ok=False, found=str(error), advice=error.advice)]
    return tracking_server.judge(mask_uri(settings.tracking_uri), facts)


def tried(settings: Settings) -> Check:
    """Make one small run there and remove it."""
    check_installed(settings.tracking_uri)
    service = looking.service(settings.tracking_uri)
    steps = trying.trial(settings.tracking_uri, settings.experiments_in)
    return tracking_server.judge_trial(service, steps)
