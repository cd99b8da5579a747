"""One use case each. Services see ports, never adapters."""
