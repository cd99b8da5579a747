"""MLflow's user for those who may look: made, and let see one experiment, over REST as its admin.

MLflow keeps him from changing that experiment and from seeing others, and not from making some of
his own: so his password is the server's alone, which passes on what only looks.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
from collections.abc import Mapping
from typing import Any

from ddx.adapters.mlflow_runs.rest import ask, basic
from ddx.core.run_draft import EXPERIMENT
from ddx.errors import TrackerUnavailable

_TIMEOUT_S = 30.0
"""MLflow may have a page's dozen requests to answer first."""


class Reader:
    """One user of one MLflow."""

    def __init__(
        self, url: str, admin: tuple[str, str], reader: tuple[str, str], ca: str | None
    ) -> None:
        """`admin` and `reader`: name and password; `ca` as of rest.ask."""
        self._url, self._ca = url.rstrip("/"), ca
        self._admin, self._reader = basic(*admin), basic(*reader)
        self._name, self._password = reader

    def ensure(self) -> None:
        """See that he is there, with his password, and may look at the experiment, where there is
        one. Changes nothing the second time. Blocks. Raises TrackerUnavailable.
        """
        try:
            self._be_known()
            self._may_look()
        except urllib.error.HTTPError as error:
            raise TrackerUnavailable(
                f"MLflow answers {error.code} when its user {self._name} is made"
            ) from None
        except (OSError, ValueError, KeyError) as error:
            raise TrackerUnavailable(f"MLflow does not answer ({type(error).__name__})") from None

    def _be_known(self) -> None:
        try:
            self._ask("2.0/mlflow/users/current", authorization=self._reader)
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
        else:
            return
        him = {"username": self._name, "password": self._password}
        if not self._done("2.0/mlflow/users/create", him):
            # His password was made anew, or somebody changed it.
            self._ask("2.0/mlflow/users/update-password", him, method="PATCH")

    def _may_look(self) -> None:
        name = urllib.parse.urlencode({"experiment_name": EXPERIMENT})
        try:
            found = self._ask(f"2.0/mlflow/experiments/get-by-name?{name}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return
        what = {"resource_type": "experiment", "resource_id": found["experiment"]["experiment_id"]}
        self._done(
            "3.0/mlflow/users/permissions/grant",
            {"username": self._name, **what, "permission": "READ"},
        )

    def _done(self, path: str, body: Mapping[str, Any]) -> bool:
        """Ask for something to be made; return whether it was not there yet."""
        try:
            self._ask(path, body)
        except urllib.error.HTTPError as error:
            if error.code == 400 and json.load(error)["error_code"] == "RESOURCE_ALREADY_EXISTS":
                return False
            raise
        return True

    def _ask(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        method: str | None = None,
        authorization: str | None = None,
    ) -> dict[str, Any]:
        return ask(
            f"{self._url}/api/{path}",
            body,
            method=method,
            authorization=authorization or self._admin,
            ca=self._ca,
            timeout_s=_TIMEOUT_S,
        )
