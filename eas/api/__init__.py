"""The Python interface of ``import eas``. Each name is imported when it is first used.

The functions are those of the commands and flows; this package gives them short names, takes chains as plain
dictionaries, and returns data frames with real types.
"""
