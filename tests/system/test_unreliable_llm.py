"""An LLM that fails four calls in ten, through the server: the small version of a bench."""

from __future__ import annotations

import pytest
from bench.unreliable import run


def test_each_request_has_one_outcome_and_the_accounts_add_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = run(requests=60, at_once=16)
    assert good, capsys.readouterr().out
