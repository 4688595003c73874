"""Building blocks, one idea of a paper per file."""
