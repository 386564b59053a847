"""The data tables of psls, which its wheel does not include: ``python -m eas.tasks.psls_data fetch``.

Only psls' source distribution (65 MB) has the tables: the model of a star, and systematic errors of PLATO's
cameras. They are fetched once, when the worker is installed, into the folder ``EAS_PSLS_DATA``, by default
``share/eas/psls`` in the Python environment.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from eas.errors import EASError, ServiceError, TaskFailure

COMMAND: Final = "python -m eas.tasks.psls_data fetch"
STAR: Final = "0012069449.gsm"
"""Frequencies of a main-sequence star, a solar twin (KIC 12069449)."""
MASK_UPDATES: Final = "PLATO_systematics_BOL_V2.npy"
"""Systematic errors at the beginning of life, with mask updates within a quarter."""
FIXED_MASK: Final = "PLATO_systematics_BOL_FixedMask_V2.npy"
"""The same with one mask for each quarter."""
MEMBERS: Final = {STAR: "models", MASK_UPDATES: "systematics", FIXED_MASK: "systematics"}


def directory() -> Path:
    """Return the folder of the tables, which need not exist."""
    return Path(os.environ.get("EAS_PSLS_DATA") or Path(sys.prefix) / "share" / "eas" / "psls").absolute()


def table(name: str) -> Path:
    """Return the path of a table; raise TaskFailure with the command that fetches it if it is missing."""
    path = directory() / name
    if not path.is_file():
        raise TaskFailure(f"psls' data table {name} is not in {directory()}", hint=f"fetch it once: {COMMAND}")
    return path


def is_complete() -> bool:
    """Return whether all tables exist."""
    return all((directory() / name).is_file() for name in MEMBERS)


def fetch() -> Path:
    """Fetch missing tables and return the folder. A second call has no effect.

    Raises EASError where psls is not installed or its distribution lacks a table, ServiceError where
    the package index cannot be reached.
    """
    target = directory()
    if is_complete():
        return target
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".fetch-") as temporary:
        archive = _download(Path(temporary))
        for name in MEMBERS:
            _extract(archive, name, Path(temporary) / name)
            (Path(temporary) / name).replace(target / name)
    return target


def _download(into: Path) -> Path:
    try:
        wanted = f"psls=={version('psls')}"
    except PackageNotFoundError as error:
        raise EASError("psls is not installed here", hint="pip install 'eas-prefect[psls-batman]'") from error
    options = ["--quiet", "--no-deps", "--no-binary", "psls", "--dest", str(into)]
    command = [sys.executable, "-m", "pip", "download", *options, wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no input from outside
    found = sorted(into.glob("psls-*.tar.gz"))
    if done.returncode or not found:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ServiceError(
            f"pip could not download the source distribution of {wanted}: {last}",
            hint="check that pip is installed and the package index can be reached, then try again",
        )
    return found[0]


def _extract(archive: Path, name: str, target: Path) -> None:
    with tarfile.open(archive) as opened:
        for member in opened:
            parts = Path(member.name).parts
            if member.isfile() and parts[-2:] == (MEMBERS[name], name):
                source = opened.extractfile(member)
                assert source is not None
                with source, target.open("wb") as stream:
                    shutil.copyfileobj(source, stream)
                return
    raise EASError(f"{archive.name} has no {MEMBERS[name]}/{name}", hint="install the version of psls that is locked")


def main(arguments: list[str] | None = None) -> int:
    """Fetch the tables, or say where they are; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m eas.tasks.psls_data", description="The data tables of psls.")
    parser.add_argument("verb", choices=("fetch", "where"))
    verb = parser.parse_args(arguments).verb
    try:
        folder = fetch() if verb == "fetch" else directory()
    except EASError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{folder}\n")
    return 0 if is_complete() else 1


if __name__ == "__main__":
    sys.exit(main())
