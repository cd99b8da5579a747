"""The experiment that all runs are in, made or brought back through MLflow's client."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from ddx.adapters.mlflow_runs.library import mlflow, translated
from ddx.core.run_draft import EXPERIMENT
from ddx.errors import TrackerUnavailable

log = logging.getLogger("ddx")
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Experiment:
    """Where the runs go."""

    id: str
    restored: bool = False
    """It had been deleted, and its runs with it."""


def full_name(name: str, folder: str) -> str:
    """Return an experiment's name below a folder, for servers where names are paths.

    >>> full_name("ddx-evaluation", "/Shared"), full_name("ddx-evaluation", "")
    ('/Shared/ddx-evaluation', 'ddx-evaluation')
    """
    return f"{folder}/{name}" if folder else name


def ensure(client: Any, artifacts_path: str | None, name: str = EXPERIMENT) -> Experiment:
    """Return the experiment, made where it is missing and restored where it was deleted.

    Every accepted prediction belongs into MLflow for ever, so a click on `delete` does not
    stand against it. Raises TrackerUnavailable, DeliveryRefused.
    """
    with translated("looking for the experiment"):
        found = client.get_experiment_by_name(name)
        if found is None:
            return Experiment(_create(client, artifacts_path, name))
        if found.lifecycle_stage == "active":
            return Experiment(str(found.experiment_id))
        client.restore_experiment(found.experiment_id)
    log.warning("experiment restored", extra={"event": "experiment_restored"})
    return Experiment(str(found.experiment_id), restored=True)


def _create(client: Any, artifacts_path: str | None, name: str) -> str:
    """Create it with its files in `artifacts_path`/<its id>, which is MLflow's own layout.

    MLflow takes the place of the files before it chooses the id, and never changes it after;
    without one it uses the server's root, which can be a folder relative to wherever somebody
    started the server. So the next id is guessed, and a wrong guess is put aside.
    """
    guess = _next_id(client) if artifacts_path else None
    if guess is None:
        return str(client.create_experiment(name))
    for _ in range(_TRIES):
        location = f"{artifacts_path}/{guess}"
        id = str(client.create_experiment(name, artifact_location=location))
        if id == str(guess):
            return id
        client.rename_experiment(id, f"{name}-misplaced-{id}")
        client.delete_experiment(id)
        guess = int(id) + 1
    raise TrackerUnavailable("others create experiments all the time: its id cannot be guessed")


def _next_id(client: Any) -> int | None:
    """Guess the id that MLflow will choose; None where ids are not counted, as on Databricks."""
    view = mlflow().entities.ViewType.ALL
    newest = client.search_experiments(view, max_results=1, order_by=["experiment_id DESC"])
    ids = [str(experiment.experiment_id) for experiment in newest]
    # Ids of a file store and of Databricks are random, with 18 digits and more.
    return int(ids[0]) + 1 if ids and ids[0].isdecimal() and len(ids[0]) < 10 else None
