"""The operations on jobs, queue and database: one verb a module."""
