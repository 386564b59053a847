"""Maximum lengths of texts that users choose, given by their columns in the task database.

The tables and the checks of chains and options read these numbers. Lengths are counted in characters,
but for TEXT, which MySQL and MariaDB bound in bytes.
"""

from __future__ import annotations

NAME = 255
"""Name of a job or of a task."""
PRODUCT = 500
"""File name, or working directory."""
SEMANTIC = 80
"""Semantic name of an input or output."""
TASK_TYPE = 80
SEED = 80
ADDRESS = 255
"""Ordinals from a job's root down to a task, joined by dots."""
TEXT_BYTES = 65_535
