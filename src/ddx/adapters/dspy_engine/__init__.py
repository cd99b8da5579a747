"""LLMs through DSPy: one structured call, each attempt counted and recorded as it was sent.

DSPy is loaded by the first question, or by `warm`: importing this package is quick.
"""

from ddx.adapters.dspy_engine.engine import DspyEngine
from ddx.adapters.dspy_engine.gate import Gate

__all__ = ["DspyEngine", "Gate"]
