"""Inference: transcription in batches and for many visitors at once."""
