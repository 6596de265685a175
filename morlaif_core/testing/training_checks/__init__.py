"""Checks of what trains or runs a model, on a small real one: preference-model backends, policy trainers."""
