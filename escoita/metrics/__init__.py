"""Normalize texts, and compute error rates and types of errors."""
