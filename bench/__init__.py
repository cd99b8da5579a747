"""Commands that print a ratio against a baseline measured beside it, in the same run.

Each is `python -m bench.<name>`; none is a test. docs/promises.md has figures and how to repeat.
"""
