"""Sweeps: specification, trials on Ray, measurements and the page with all of them."""
