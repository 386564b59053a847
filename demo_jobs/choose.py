"""Prints which demonstration runs here, and to the error output why it is not the full one.

eas run "$(python demo_jobs/choose.py)"
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from eas import registry
from eas.chains.grammar import load_chain
from eas.errors import EASError
from eas.operations.plan import plan_chain, require_installed
from eas.settings import Settings
from eas.tasks import psls_data

FOLDER = Path(__file__).parent
FULL = FOLDER / "demo.json"
WITHOUT_PSLS_OR_TLS = FOLDER / "detection_limit.json"
WITHOUT_SYNTHESIS = FOLDER / "shipped_light_curve.json"
"""Needs neither batman nor psls: it searches a light curve that comes with the repository."""


def unavailable(chain: Path) -> str:
    """Return what a demonstration needs that is not installed here, and how to get it; empty where it can run."""
    known = registry.load()
    try:
        require_installed(plan_chain(load_chain(chain, known), known), known)
    except EASError as error:
        return str(error)
    if chain == FULL and not psls_data.is_complete():
        return f"psls' data tables are not here\n  -> {psls_data.COMMAND}"
    return ""


def provide_light_curve() -> None:
    """Copy the shipped light curve into the input directory, where the chain's ingestion finds it."""
    target = Settings().input_directory / "demo"
    shutil.copytree(FOLDER / "input" / "demo", target, dirs_exist_ok=True)


def main() -> None:
    """Print the path of the largest demonstration that can run here."""
    for chain in (FULL, WITHOUT_PSLS_OR_TLS):
        reason = unavailable(chain)
        if not reason:
            break
        sys.stderr.write(f"{chain.name} cannot run here: {reason}\n")
    else:
        chain = WITHOUT_SYNTHESIS
        provide_light_curve()
    sys.stdout.write(f"{chain}\n")


if __name__ == "__main__":
    main()
