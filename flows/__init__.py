"""Prefect flows: each checks its parameters, calls one operation of ``eas`` and publishes artifacts."""
