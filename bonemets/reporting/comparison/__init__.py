"""Two MLflow runs compared patient by patient."""
