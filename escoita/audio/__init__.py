"""Decode, resample and segment audio, and compute fingerprints."""
