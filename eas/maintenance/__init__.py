"""Maintenance that keeps the task database consistent after processes were killed."""
