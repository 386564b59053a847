"""Statements that only read the task database."""
