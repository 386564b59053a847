"""``python -m eas`` is the command ``eas``."""

from eas.cli import main

main()
