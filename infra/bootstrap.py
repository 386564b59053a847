"""Create ``.venv``: ``python3 infra/bootstrap.py run`` for ``make demo``, ``... dev`` also for tests.

The script prints a line for each long step. A second call changes nothing, and ``run`` accepts an
environment made by ``dev``. The script needs only the standard library of Python 3.7 or newer: if
the locked packages do not support the running Python, uv downloads a supported one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Sequence  # noqa: UP035 - collections.abc cannot be subscripted in Python 3.8

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST, PREFERRED = (3, 11), (3, 14), "3.13"
LOCKS = {"run": "requirements-run.txt", "dev": "requirements.txt"}
"""Lock file of each purpose; ``dev`` includes ``run``."""
NEEDS_COMPILER = "batman-package"
"""The only locked package without wheels for Python 3.14 and for Linux on 64-bit Arm."""
MISSING_WITHOUT_COMPILER = "synthesis_batman and synthesis_psls cannot run"
COMPILER_HINT = "apt-get install gcc python3-dev && rm -r .venv && make setup"
INDEX_HINT = "check that the package index can be reached (pip config list), then try again"


class SetupError(Exception):
    """A step failed; the message contains the step and a hint."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print the begin of a step, and its duration at the end."""
    began = time.monotonic()
    sys.stdout.write(f"setup: {what} ...\n")
    sys.stdout.flush()
    yield
    sys.stdout.write(f"setup: {what}: {time.monotonic() - began:.0f} s\n")
    sys.stdout.flush()


def print_line(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"setup: {text}\n")
    sys.stdout.flush()


def run(command: Sequence[object], hint: str) -> None:
    """Run a command in the repository; raise SetupError with ``hint`` if it fails."""
    words = [str(word) for word in command]
    if subprocess.run(words, cwd=str(ROOT), check=False).returncode:
        raise SetupError(f"{' '.join(words[:4])} ... failed\n  -> {hint}")


def supported(version: Sequence[int]) -> bool:
    """Return whether the locked packages support this Python."""
    return OLDEST <= tuple(version[:2]) <= NEWEST


def make_environment(venv: Path) -> None:
    """Create the virtual environment and install uv in it; if this Python is unsupported, uv downloads another."""
    name = ".".join(map(str, sys.version_info[:3]))
    hint = "install the package python3-venv (Debian) or its equivalent on your system, then try again"
    if supported(sys.version_info):
        with step(f"virtual environment of Python {name}, and uv"):
            run([sys.executable, "-m", "venv", "--clear", venv], hint)
            install_uv(venv)
        return
    print_line(f"Python {name} is not supported (3.11 to 3.14 are): uv downloads Python {PREFERRED}")
    helper = venv.with_name(venv.name + "-uv")
    with step(f"virtual environment of Python {PREFERRED}, and uv"):
        run([sys.executable, "-m", "venv", "--clear", helper], hint)
        install_uv(helper)
        uv = helper / "bin" / "uv"
        run(
            [uv, "venv", "--quiet", "--clear", "--seed", "--managed-python", "--python", PREFERRED, venv],
            "install Python 3.11, 3.12, 3.13 or 3.14, then try again",
        )
        shutil.copy(str(uv), str(venv / "bin" / "uv"))
    shutil.rmtree(str(helper))


def install_uv(venv: Path) -> None:
    """Install uv with the pip of the environment."""
    python = venv / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv>=0.9"], INDEX_HINT)


def install_packages(venv: Path, lock: str) -> None:
    """Install the locked packages, and EAS in editable mode."""
    uv, python = venv / "bin" / "uv", venv / "bin" / "python"
    sync = [str(uv), "pip", "sync", "--quiet", "--python", str(python)]
    if sys.dont_write_bytecode:  # otherwise each process compiles its imports: 1.7 s of CPU for Prefect alone
        sync.append("--compile-bytecode")
    text = (ROOT / lock).read_text(encoding="utf-8")
    with step(f"packages of {lock}"):
        done = subprocess.run([*sync, lock], cwd=str(ROOT), check=False, stderr=subprocess.PIPE)
        if done.returncode:
            compiler = shutil.which(os.environ.get("CC", "cc"))
            if compiler or NEEDS_COMPILER.encode() not in done.stderr:
                sys.stderr.write(done.stderr.decode(errors="replace"))
                raise SetupError(f"installing {lock} failed\n  -> {INDEX_HINT}")
            print_line(
                f"{NEEDS_COMPILER} needs a compiler, which is missing: {MISSING_WITHOUT_COMPILER}; {COMPILER_HINT}"
            )
            reduced = venv / "without-compiler.txt"
            reduced.write_text(without(text, NEEDS_COMPILER), encoding="utf-8")
            run([*sync, reduced], INDEX_HINT)
        run([uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--editable", "."], INDEX_HINT)


def without(text: str, package: str) -> str:
    """Return a lock file's text without one package."""
    kept, skipping = [], False
    for line in text.splitlines(True):
        if not line.startswith((" ", "#")):
            skipping = line.startswith(f"{package}==")
        if not skipping:
            kept.append(line)
    return "".join(kept)


def fingerprint(purpose: str) -> str:
    """Return the SHA-256 of the files that determine the environment of a purpose."""
    digest = hashlib.sha256()
    for name in (LOCKS[purpose], "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def is_current(venv: Path, purpose: str) -> bool:
    """Return whether the environment was made for the purpose from the present lock files."""
    for each in {"run": ("run", "dev"), "dev": ("dev",)}[purpose]:
        mark = venv / f".{each}"
        if mark.is_file() and mark.read_text(encoding="ascii") == fingerprint(each):
            return True
    return False


def prepare_science(venv: Path) -> None:
    """Download the tables of psls, and compile the searches; all clones of a user share the compiled code."""
    python = venv / "bin" / "python"
    with step("data tables of psls (65 MB)"):
        done = subprocess.run([str(python), "-m", "eas.tasks.psls_data", "fetch"], cwd=str(ROOT), check=False)
        if done.returncode:
            print_line("without these tables synthesis_psls cannot run, and make demo runs a smaller chain")
    with step("compiling the searches (once per user)"):
        run([python, "-m", "eas.tasks.jit_cache"], "see the messages above")


def prepare_prefect(venv: Path) -> None:
    """Create the database template of local Prefect servers, so that the first server starts as fast as later ones."""
    with step("database template of the local Prefect server"):
        done = subprocess.run([str(venv / "bin" / "python"), "-P", "-m", "flows.prefect_database"], check=False)
        if done.returncode:
            print_line("creating the template failed; the first server creates it instead")


def main() -> int:
    """Create or update the environment; return the exit code."""
    parser = argparse.ArgumentParser(description="Make the virtual environment of EAS.")
    parser.add_argument("purpose", choices=sorted(LOCKS))
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    given = parser.parse_args()
    venv, purpose = given.venv.absolute(), given.purpose
    if is_current(venv, purpose):
        return 0
    try:
        if not (venv / "bin" / "uv").is_file():
            make_environment(venv)
        install_packages(venv, LOCKS[purpose])
        prepare_science(venv)
        prepare_prefect(venv)
    except SetupError as error:
        sys.stderr.write(f"error: {error}\n")
        return 3
    (venv / f".{purpose}").write_text(fingerprint(purpose), encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
