"""Serve transcription over HTTP, with the interface of OpenAI's API."""
