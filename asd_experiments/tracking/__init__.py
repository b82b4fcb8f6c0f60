"""Everything that is written to or read from MLflow."""
