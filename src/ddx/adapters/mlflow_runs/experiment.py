"""The experiment that all runs are in, made or brought back through MLflow's client."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ddx.adapters.mlflow_runs.library import mlflow, translated
from ddx.core.partition import PERIOD_TAG, is_ours, past_name
from ddx.core.run_draft import EXPERIMENT
from ddx.errors import AnswerLost, DeliveryRefused, TrackerUnavailable

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


def ensure(
    client: Any, artifacts_path: str | None, name: str = EXPERIMENT, month: str = ""
) -> Experiment:
    """Return the experiment, made where it is missing and restored where it was deleted.

    Every accepted prediction belongs into MLflow for ever, so a click on `delete` does not
    stand against it. Raises TrackerUnavailable, DeliveryRefused.
    """
    with translated("looking for the experiment"):
        found = client.get_experiment_by_name(name)
        if found is None:
            tags = {PERIOD_TAG: month} if month else {}
            try:
                with translated("creating the experiment"):
                    return Experiment(_create(client, artifacts_path, name, tags))
            except DeliveryRefused:
                # Two who begin at once both find none; one of them makes it.
                found = client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "active":
            return Experiment(str(found.experiment_id))
        client.restore_experiment(found.experiment_id)
    log.warning("experiment restored", extra={"event": "experiment_restored"})
    return Experiment(str(found.experiment_id), restored=True)


def ours(client: Any, folder: str = "", *, deleted: bool = False) -> list[Any]:
    """Return all experiments of predictions, the present one and those of past months."""
    try:
        found = list(_all(client, f"name LIKE '{full_name(EXPERIMENT, folder)}%'", deleted=deleted))
    except (DeliveryRefused, AnswerLost):
        # A service that knows no patterns. Where this fails too, it is no matter of patterns.
        found = list(_all(client, None, deleted=deleted))
    return [one for one in found if is_ours(one.name, folder)]


def _all(client: Any, filter_string: str | None, *, deleted: bool) -> Iterator[Any]:
    views, token = mlflow().entities.ViewType, None
    view = views.ALL if deleted else views.ACTIVE_ONLY
    while True:
        with translated("looking for the experiments"):
            page = client.search_experiments(view, filter_string=filter_string, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def ensure_month(
    client: Any, artifacts_path: str | None, month: str, folder: str = ""
) -> Experiment:
    """Return the experiment of a month. When a new one begins, the present experiment gets the name
    of its month and a new one takes its place. Repeatable, wherever it was cut off.
    """
    name = full_name(EXPERIMENT, folder)
    with translated("looking for the experiment"):
        now = client.get_experiment_by_name(name)
        if now is not None and now.lifecycle_stage == "active":
            present = now.tags.get(PERIOD_TAG, "")
            if not present:
                # It has all that came before there was one for each month.
                client.set_experiment_tag(now.experiment_id, PERIOD_TAG, month)
            elif month < present:
                return ensure(client, artifacts_path, full_name(past_name(month), folder), month)
            elif month > present:
                client.rename_experiment(now.experiment_id, _free_name(client, present, folder))
    return ensure(client, artifacts_path, name, month)


def _free_name(client: Any, month: str, folder: str) -> str:
    wanted = full_name(past_name(month), folder)
    name, number = wanted, 1
    while client.get_experiment_by_name(name) is not None:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _create(client: Any, artifacts_path: str | None, name: str, tags: dict[str, str]) -> str:
    """Create it with its files in `artifacts_path`/<its id>, which is MLflow's own layout.

    MLflow takes the place of the files before it chooses the id, and never changes it after;
    without one it uses the server's root, which can be a folder relative to wherever somebody
    started the server. So the next id is guessed, and a wrong guess is put aside.
    """
    guess = _next_id(client) if artifacts_path else None
    if guess is None:
        return str(client.create_experiment(name, **_with(tags)))
    for _ in range(_TRIES):
        location = f"{artifacts_path}/{guess}"
        id = str(client.create_experiment(name, artifact_location=location, **_with(tags)))
        if id == str(guess):
            return id
        client.rename_experiment(id, f"{name}-misplaced-{id}")
        client.delete_experiment(id)
        guess = int(id) + 1
    raise TrackerUnavailable("others create experiments all the time: its id cannot be guessed")


def _with(tags: dict[str, str]) -> dict[str, Any]:
    return {"tags": tags} if tags else {}


def _next_id(client: Any) -> int | None:
    """Guess the id that MLflow will choose; None where ids are not counted, as on Databricks."""
    view = mlflow().entities.ViewType.ALL
    newest = client.search_experiments(view, max_results=1, order_by=["experiment_id DESC"])
    ids = [str(experiment.experiment_id) for experiment in newest]
    # Ids of a file store and of Databricks are random, with 18 digits and more.
    return int(ids[0]) + 1 if ids and ids[0].isdecimal() and len(ids[0]) < 10 else None
