"""The task database: its schema, writing statements, and, in ``queries``, read-only statements.

A read that belongs to a guarded write, such as the query before a claim, is in the module of that write.
"""
