"""Segmentation of bone metastases in bone scans and CT."""

__version__ = "0.1.0"
