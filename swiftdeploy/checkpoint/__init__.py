"""Weights on disk become a strict, provenance-carrying module."""
