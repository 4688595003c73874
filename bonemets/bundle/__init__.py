"""What a bundle consists of: folder, weights, training record, and short errors about its configuration."""
