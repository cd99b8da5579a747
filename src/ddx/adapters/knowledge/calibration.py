"""From scores to probabilities that come true as often as they say.

Two constants for each kind of case, fitted by `python -m bench.calibration` on all development
cases of public sets. Expected calibration error with them: 0.04 to 0.07; fitted on one half and
tried on the other, 0.05 to 0.10.

- The sum of log likelihood ratios is divided by `temperature` times the root of the number of
  findings. Findings are not independent: the more there are, the more of each is said already.
- `described` is the share of cases, at most, whose disease is the first of the list however well
  it fits: other diseases are not described here, or not as this patient has them.

Fitted on: primary care and emergency, CRAFT-MD and AgentClinic (807 answered cases in prose);
genetics, codes: phenopackets whose own paper is no source (2,283); genetics, prose: MAC and
DxGPT's synthetic cases (304). There were no coded cases of common disease: those take the
temperature of the coded and the `described` of the common.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ddx.core.record import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How scores become probabilities."""

    temperature: float
    """In nats, for one finding."""
    described: float
    """What all probabilities add up to; the rest is for a disease that is not described."""

    def divisor(self, findings: int) -> float:
        """By what a sum over so many findings is divided.

        >>> Calibration(temperature=0.5, described=0.6).divisor(4)
        1.0
        """
        return self.temperature * math.sqrt(max(1, findings))


_FITTED: Mapping[tuple[bool, bool, bool], Calibration] = {
    (True, True, False): Calibration(temperature=0.8, described=0.6),
    (True, True, True): Calibration(temperature=0.8, described=0.5),
    (True, False, False): Calibration(temperature=0.6, described=0.55),
    (False, True, False): Calibration(temperature=0.7, described=0.4),
    (False, True, True): Calibration(temperature=0.9, described=0.45),
    (False, False, False): Calibration(temperature=0.6, described=0.65),
}
"""By three questions: is common disease seen, is the case prose, were texts added."""


def calibration(setting: Setting, *, prose: bool, texts: bool = False) -> Calibration:
    """Return the constants for a case of a setting, read from prose or given as codes.

    `texts`: texts about diseases were added.
    """
    return _FITTED[setting is not Setting.GENETICS, prose, texts and prose]
