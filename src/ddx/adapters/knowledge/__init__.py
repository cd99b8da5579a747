"""The embedded engine: findings from a case, diseases ranked by how well they explain them."""

from ddx.adapters.knowledge.engine import Description, KnowledgeEngine

__all__ = ["Description", "KnowledgeEngine"]
