"""Figures and page of an evaluation."""
