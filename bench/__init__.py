"""Measure the speed and the memory of escoita, compared with scripts that do the same without it."""
