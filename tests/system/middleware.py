"""A caller that behaves like the existing middleware."""

from __future__ import annotations

import http.client
import time

from tests.system.stack import Reply, Stack

RETRIED = (500, 502, 503, 504)


class Middleware:
    """Posts a case, retries with the same tracker, and reads the parts it knows.

    The real one gives up after three retries; a killed server needs some seconds to be back,
    so a refused connection is waited out here, and only answers count as tries.
    """

    def __init__(self, stack: Stack, wait_s: float = 60, model_name: str = "knowledge") -> None:
        self._stack = stack
        self._wait_s = wait_s
        self._model_name = model_name

    def predict(self, case: str, tracker: str) -> Reply:
        answers = 0
        give_up_at = time.monotonic() + self._wait_s
        while True:
            try:
                reply = self._stack.post(
                    model_name=self._model_name, case=case, prompt_version=1, tracker=tracker
                )
            except (OSError, http.client.HTTPException):
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.2)
                continue
            if reply.status not in RETRIED or answers >= 3:
                break
            answers += 1
            time.sleep(0.5)
        if reply.status == 200:
            self.read(reply)
        return reply

    @staticmethod
    def read(reply: Reply) -> list[str]:
        """Read what the existing middleware reads; return the diagnoses."""
        body = reply.json()
        assert body["status"] == "success"
        assert isinstance(body["data"]["conclusion"], str)
        for found in body["data"]["result"]:
            assert found["likelihood"]
            for line in found["summarised_rationale"]:
                assert all(isinstance(text, str) for text in line.values())
            for part in found["rationale"]:
                assert set(part) <= {
                    "Clinical Relevance and Features",
                    "Lack of Fit Reasoning",
                    "Relevance to Rural India",
                    "Clinical Relevance",
                }
        return [found["diagnosis"] for found in body["data"]["result"]]
