"""The task database: the schema, statements that write, and in ``queries`` statements that only read.

A reader that is one half of a guarded write, such as the look before a claim, is beside that write.
"""
