"""Answer one request: keep it, ask the engine, keep the outcome, and only then reply."""

from ddx.services.predict.elsewhere import Elsewhere
from ddx.services.predict.predictor import Predictor, Registry
from ddx.services.predict.watching import Watcher

__all__ = ["Elsewhere", "Predictor", "Registry", "Watcher"]
