"""Context: features of several scales and dilations."""
