"""One outside thing each. Adapters never see each other."""
