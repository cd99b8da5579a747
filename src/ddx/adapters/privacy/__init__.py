"""Finds what identifies a person in a case: patterns of our own, telephone numbers by a library.

No list of names and no model of a language: `docs/privacy.md` says what that misses.
"""

from ddx.adapters.privacy.masker import PatternMasker

__all__ = ["PatternMasker"]
