"""Writes the reference pages that the code determines: ``python -m docs.generate``."""
