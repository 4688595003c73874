"""Results of one study: findings, pictures, page and ``result.json``."""
