"""Metrics: text normalization, error rates and types of errors."""
