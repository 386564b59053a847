"""``python -m eas`` is the command ``eas``."""

import sys
from pathlib import Path

# Python puts the working directory first on the module path, where a user's own flows/ or reports/ would hide ours.
if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).parents[1]:
    del sys.path[0]

from eas.cli import main

main()
