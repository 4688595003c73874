"""Data lists: built from data sets, checked for leaks, split into patient-level folds."""
