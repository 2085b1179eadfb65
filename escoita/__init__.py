"""From a folder of recordings to a published speech adapter whose card can be trusted."""

__version__ = "0.1.0"
