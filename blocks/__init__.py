"""Prefect blocks: where the task database, the job queue and the file store are.

``prefect block register -m blocks`` makes their types known to a server; ``eas blocks save`` does so
and writes the current settings into one block of each.
"""

from blocks.database import EASDatabase
from blocks.job_queue import EASJobQueue
from blocks.saved import DEFAULT_NAME, blocks_of, overrides, save_blocks
from blocks.store import EASFileStore

__all__ = ["DEFAULT_NAME", "EASDatabase", "EASFileStore", "EASJobQueue", "blocks_of", "overrides", "save_blocks"]
