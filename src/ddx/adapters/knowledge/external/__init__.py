"""Knowledge that is added beside what the program carries: files of others, and their place."""

from ddx.adapters.knowledge.external.store import KnowledgeStore, Shelf
from ddx.adapters.knowledge.external.update import Addresses, fetch

__all__ = ["Addresses", "KnowledgeStore", "Shelf", "fetch"]
