"""Judges servers and clients."""
