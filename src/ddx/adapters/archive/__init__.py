"""A backup's files: written as a stream, encrypted where somebody is named, and read back."""

from ddx.adapters.archive.age import recipients
from ddx.adapters.archive.tar import Archive, read

__all__ = ["Archive", "read", "recipients"]
