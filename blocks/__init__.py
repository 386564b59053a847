"""Prefect blocks with the locations of task database, job queue and file store.

``prefect block register -m blocks`` registers their types with a server; ``eas blocks save`` does the same and
saves the current settings as one block of each type.
"""

from blocks.database import EASDatabase
from blocks.job_queue import EASJobQueue
from blocks.saved import DEFAULT_NAME, blocks_of, overrides, save_blocks
from blocks.store import EASFileStore

__all__ = ["DEFAULT_NAME", "EASDatabase", "EASFileStore", "EASJobQueue", "blocks_of", "overrides", "save_blocks"]
