"""From scores to probabilities that come true as often as they say.

Two constants for each kind of case, fitted by `python -m bench.calibration` on all development
cases of public sets. Expected calibration error with them: 0.03 to 0.04; fitted on one half and
tried on the other, 0.05 to 0.09.

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


_COMMON = Calibration(temperature=0.5, described=0.55)
_RARE = Calibration(temperature=0.6, described=0.65)


def calibration(setting: Setting, *, prose: bool) -> Calibration:
    """Return the constants for a case of a setting, read from prose or given as codes."""
    match (setting, prose):
        case (Setting.GENETICS, True):
            return Calibration(temperature=0.6, described=0.4)
        case (Setting.GENETICS, False):
            return _RARE
        case (_, True):
            return _COMMON
    return Calibration(temperature=_RARE.temperature, described=_COMMON.described)
