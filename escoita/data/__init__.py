"""Corpora: whatever people have, read into rows of one shape, checked clip by clip, nothing dropped unnamed."""
