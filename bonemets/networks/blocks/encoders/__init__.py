"""Encoders that are used as a whole."""
