"""Prints which demo runs here: all syntheses and searches where their packages are installed, else the small one.

eas run "$(python demo_jobs/choose.py)"
"""

from __future__ import annotations

import sys
from pathlib import Path

from eas import registry
from eas.chains.grammar import load_chain
from eas.control.submit import plan_chain, require_installed
from eas.errors import EASError
from eas.tasks import psls_data

FULL = Path(__file__).with_name("demo.json")
SMALL = Path(__file__).with_name("detection_limit.json")


def lacking() -> str:
    """Return what the full demo lacks here, and how to get it; nothing where it can run."""
    known = registry.load()
    try:
        require_installed(plan_chain(load_chain(FULL, known), known), known)
    except EASError as error:
        return str(error)
    return "" if psls_data.is_complete() else f"psls' data tables are not here\n  -> {psls_data.COMMAND}"


def main() -> None:
    """Print the chain's path, and to the error output why it is not the full one."""
    if missing := lacking():
        sys.stderr.write(f"the small demo, for the full one cannot run here: {missing}\n")
    sys.stdout.write(f"{SMALL if missing else FULL}\n")


if __name__ == "__main__":
    main()
