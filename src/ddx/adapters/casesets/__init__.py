"""Files of cases, each in its own form, to one kind of value."""

from ddx.adapters.casesets.knowledge import read_evidences, read_relations
from ddx.adapters.casesets.read import FORMS, read

__all__ = ["FORMS", "read", "read_evidences", "read_relations"]
