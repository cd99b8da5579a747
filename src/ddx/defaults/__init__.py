"""The shipped registry: files that ddx.toml overrides and extends, entry by entry."""
