"""Import the Transcriber by the name that cards of version 0.1.0 show."""

from escoita.inference.transcriber import Transcriber


__all__ = ["Transcriber"]
