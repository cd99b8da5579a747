"""What can be told of a prediction before its reply."""

from __future__ import annotations

from typing import Protocol

from ddx.core.record import Diagnosis, PredictionId


class Watcher(Protocol):
    """Is told how a prediction goes on, in the event loop. Must not raise or block."""

    def accepted(self, id: PredictionId) -> None:
        """The request is on stable storage under this id, and an engine is asked.

        Not called where there is nothing to wait for: the prediction is refused, or there is
        an earlier answer.
        """

    def diagnosed(self, rank: int, diagnosis: Diagnosis) -> None:
        """A diagnosis is decided, but not yet kept: it may come again, or another one at
        its rank, and the prediction may still fail.
        """
