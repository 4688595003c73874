"""Tracking of training, evaluation and inference in MLflow."""
