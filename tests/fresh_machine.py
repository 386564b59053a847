"""The README's two commands on a fresh machine: ``python3 -m tests.fresh_machine --suite trixie``.

debootstrap makes the root of a minimal Debian (trixie: Python 3.13; sid: 3.14) with Python, make and git, and no
compiler. The committed state of this repository is cloned into a copy of it, where ``make demo`` and ``make test`` run
as a new user's first commands. The package index, its certificates and the package cache are those of this machine.
Needs root on Debian or Ubuntu. Prints the times and the size of ``.venv``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from infra.services.debian import base_folder, base_root, copy_root

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = (
    "/etc/pip.conf", "/etc/xdg/pip", "/etc/uv", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs",
    "/usr/local/share/ca-certificates",
)  # fmt: skip
USER_CONFIGURATION = (".config/pip", ".config/uv")
"""Files that configure the package index of this machine's pip and uv, the latter below the home folder."""
HOME = "/srv"
"""The home folder inside the root."""
CLONE = f"{HOME}/eas-prefect"
VARIABLES = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "CURL_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
SECONDS_FOR_DEMO, MEGABYTES_FOR_VENV = 150, 1200
"""The targets that the printed figures are compared with: on two free cores, with a warm package cache."""


def fresh_copy(base: Path, target: Path) -> Path:
    """Copy the root, this machine's package configuration, and a clone of the repository; return the clone."""
    copy_root(base, target)
    places = {Path(name): name for name in CONFIGURATION}
    places |= {Path.home() / name: f"{HOME}/{name}" for name in USER_CONFIGURATION}
    for source, inside in places.items():
        if not source.exists():
            continue
        place = target / inside.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True) if place.is_symlink() else None
        subprocess.run(["cp", "-aT" if source.is_dir() else "-L", source, place], check=True)
    clone = target / CLONE.lstrip("/")
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True)
    return clone


def in_root(root: Path, command: str) -> float:
    """Run a shell command in the clone inside the root; return its time [s], or end with its exit code."""
    cache = Path.home() / ".cache" / "uv"
    inside = root / HOME.lstrip("/") / ".cache" / "uv"
    for folder in (cache, inside, root / "dev" / "shm"):
        folder.mkdir(parents=True, exist_ok=True)
    # In separate mount and process namespaces: they end with the command, and with them mounts and processes.
    script = (
        f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && mount --bind {cache} {inside}"
        f" && exec chroot {root} sh -c 'cd {CLONE} && {command}'"
    )
    environment = {name: value for name, value in os.environ.items() if name.upper().startswith(VARIABLES)}
    environment |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": HOME, "LANG": "C.UTF-8", "UV_LINK_MODE": "copy"}
    print(f"fresh: {command}", flush=True)
    began = time.monotonic()
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script], env=environment, check=False
    )
    if done.returncode:
        print(f"error: {command} ended with exit code {done.returncode} in {root}", file=sys.stderr)
        sys.exit(1)
    return time.monotonic() - began


def megabytes(folder: Path) -> int:
    """Return what a folder takes on the disk."""
    done = subprocess.run(["du", "-sm", folder], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def python_version(venv: Path) -> str:
    """Return the Python version that a virtual environment was made with."""
    settings = dict(line.split(" = ", 1) for line in (venv / "pyvenv.cfg").read_text().splitlines() if " = " in line)
    return settings.get("version") or settings.get("version_info", "unknown")


def main() -> int:
    """Run the two commands; return the exit code."""
    parser = argparse.ArgumentParser(description="Run make demo and make test on a fresh, minimal Debian.")
    parser.add_argument("--suite", default="trixie", help="trixie (Python 3.13), sid (3.14), ...; default: trixie")
    parser.add_argument("--tests", default="", help="folders of tests; default: all that make test runs")
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("error: debootstrap and chroot need root\n  -> run it as root, or in a container", file=sys.stderr)
        return 3
    folder = base_folder()
    clone = fresh_copy(base_root(given.suite), folder / given.suite)
    demo = in_root(folder / given.suite, "make demo")
    size = megabytes(clone / ".venv")
    tests = in_root(folder / given.suite, f'make test TESTS="{given.tests}"' if given.tests else "make test")
    print(f"fresh: {given.suite}, Python {python_version(clone / '.venv')}, no compiler")
    print(f"fresh: make demo {demo:.0f} s (target {SECONDS_FOR_DEMO}), .venv {size} MB (target {MEGABYTES_FOR_VENV})")
    print(f"fresh: make test {tests:.0f} s")
    shutil.rmtree(folder / given.suite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
