"""Checks of what trains, runs or makes a model, on a small real one: backends, trainers, samplers, makers."""
