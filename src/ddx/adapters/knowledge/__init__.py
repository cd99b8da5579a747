"""The embedded engine: findings from a case, diseases ranked by how well they explain them."""

from ddx.adapters.knowledge.base import KnowledgeBase
from ddx.adapters.knowledge.engine import Description, KnowledgeEngine
from ddx.adapters.knowledge.grounding import Grounding

__all__ = ["Description", "Grounding", "KnowledgeBase", "KnowledgeEngine"]
