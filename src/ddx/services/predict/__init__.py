"""Answer one request: keep it, ask the engine, keep the outcome, and only then reply."""

from ddx.services.predict.predictor import Predictor, Registry

__all__ = ["Predictor", "Registry"]
