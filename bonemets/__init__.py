"""Segmentation of bone metastases in bone scans and CT."""

from bonemets import moved

__version__ = "0.2.0"

moved.install()
