"""Prepare recordings with models: draft transcripts into annotation files, and align transcripts with recordings."""
