"""Segmentation of bone metastases in bone scans and CT."""

from bonemets import moved

__version__ = "0.1.0"

moved.install()
