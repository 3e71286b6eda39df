"""Smaller weights, and activations of eight bits: what each target's own tools offer, made deterministic."""
