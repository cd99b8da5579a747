"""Files of cases, each in its own form, to one kind of value."""

from ddx.adapters.casesets.knowledge import MONDO_FILES, read_evidences, read_relations
from ddx.adapters.casesets.read import FORMS, read

__all__ = ["FORMS", "MONDO_FILES", "read", "read_evidences", "read_relations"]
