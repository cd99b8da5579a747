"""Any LLM through a DSPy program. Importing this loads neither DSPy nor a network client."""

from ddx.adapters.dspy_engine.engine import DspyEngine

__all__ = ["DspyEngine"]
