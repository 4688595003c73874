"""Figures and pages: of a study, of an evaluation, of a comparison."""
