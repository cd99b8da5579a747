"""Values and pure functions: no clock, no file, no network, only the standard library."""
