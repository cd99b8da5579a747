"""Settings to services: the only room that names adapters. Plain calls, nothing magic.

One file for each kind of process; import the one that is needed. Heavy libraries are imported by
what needs them, when it is chosen.
"""
