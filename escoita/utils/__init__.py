"""Provide general helpers for files, limits, formats and processes."""
