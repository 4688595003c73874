"""Convolutions, padding and skip connections."""
