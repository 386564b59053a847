"""Print the largest demonstration that can run on this machine; print to stderr why the full one cannot.

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
"""Searches a light curve of the repository, so that neither batman nor psls is needed."""


def unavailable(chain: Path) -> str:
    """Return which packages a demonstration lacks on this machine, with a hint; empty if it can run."""
    known = registry.load()
    try:
        require_installed(plan_chain(load_chain(chain, known), known), known)
    except EASError as error:
        return str(error)
    if chain == FULL and not psls_data.is_complete():
        return f"the data tables of psls are missing\n  -> {psls_data.COMMAND}"
    return ""


def provide_light_curve() -> None:
    """Copy the light curve of the repository to the input directory, from which the chain ingests it."""
    target = Settings().input_directory / "demo"
    shutil.copytree(FOLDER / "input" / "demo", target, dirs_exist_ok=True)


def main() -> None:
    """Print the path of the largest demonstration that can run."""
    for chain in (FULL, WITHOUT_PSLS_OR_TLS):
        reason = unavailable(chain)
        if not reason:
            break
        sys.stderr.write(f"{chain.name} cannot run on this machine: {reason}\n")
    else:
        chain = WITHOUT_SYNTHESIS
        provide_light_curve()
    sys.stdout.write(f"{chain}\n")


if __name__ == "__main__":
    main()
