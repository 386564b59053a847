"""Alembic migrations of the task database; they produce exactly the schema of ``tables.py``."""
