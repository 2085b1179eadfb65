"""Transcribe recordings in batches, and serve concurrent requests."""
