"""What a kept record is sent as."""

from __future__ import annotations

from fastapi import Response

from ddx.core.record import Prediction
from ddx.core.response import reply
from ddx.web import problems


def replied(prediction: Prediction) -> Response:
    """Return the reply that the record holds, byte for byte."""
    completion = prediction.completion
    if completion is None:
        raise ValueError("a prediction without its completion has no reply")
    ok = completion.status == 200
    return Response(
        body_of(prediction),
        status_code=completion.status,
        media_type="application/json" if ok else problems.MEDIA_TYPE,
        headers=problems.headers(completion.status, prediction.id),
    )


def body_of(prediction: Prediction) -> str:
    """Return the body that a finished prediction was or would have been answered with."""
    completion = prediction.completion
    if completion is None:
        raise ValueError("a prediction without its completion has no reply")
    # Nobody was told anything where the process died: now they are told that.
    return completion.body or reply(prediction, completion.answer)[1]
