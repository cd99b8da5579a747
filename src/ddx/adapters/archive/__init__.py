"""A backup's files: written as a stream, encrypted where somebody is named, and read back."""

from ddx.adapters.archive.age import recipients
from ddx.adapters.archive.naming import place
from ddx.adapters.archive.places import Place
from ddx.adapters.archive.tar import Archive, read, read_manifest

__all__ = ["Archive", "Place", "place", "read", "read_manifest", "recipients"]
