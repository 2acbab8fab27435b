"""The version of tsnn."""

__version__ = "0.1.0"
