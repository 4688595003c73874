"""Pooling and the fusion of its results."""
