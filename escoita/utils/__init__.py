"""Helpers that know nothing of speech: files, limits, formats, processes."""
