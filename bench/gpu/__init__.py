"""Check everything that a GPU changes, without a network and without real weights; see docs/gpu.md."""
