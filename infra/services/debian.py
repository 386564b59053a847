"""Root directories of other Debian releases: create them with debootstrap and run commands in them.

Servers in a root directory listen on the loopback address of this machine and keep their data in a folder that has the
same path inside and outside. Needs root and mount namespaces. This module uses only the standard library, because
`tests/fresh_machine.py` runs without other packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BASE_PACKAGES = "python3,python3-venv,make,git,ca-certificates"
"""Packages of a base root in addition to Debian's minimum: the requirements of the README."""
NAME_RESOLUTION_FILES = ("/etc/resolv.conf", "/etc/hosts")
"""Files for name resolution, which are copied from this machine to a root."""
ENTER_SCRIPT = (
    'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && mkdir -p "$0$1" && mount --bind "$1" "$0$1"'
    ' && shift && unset TMPDIR && exec chroot "$0" "$@"'
)
"""Shell script; its arguments are a root, a shared folder and a command. The shell ends in ``exec``, so that the
process id is that of the command."""


def can_enter() -> bool:
    """Return whether this process may create a mount namespace and change its root directory."""
    command = ["unshare", "--mount", "chroot", "/", "true"]
    return bool(shutil.which("unshare")) and not subprocess.run(command, capture_output=True, check=False).returncode


def base_folder() -> Path:
    """Return the folder of the base roots: ``EAS_FRESH_DIR``, or ``var/fresh`` in the repository."""
    return Path(os.environ.get("EAS_FRESH_DIR") or REPOSITORY / "var" / "fresh").absolute()


def base_root(suite: str) -> Path:
    """Return the root of a minimal Debian; create it with debootstrap at the first call."""
    folder = base_folder()
    base = folder / f"{suite}.base"
    if base.is_dir():
        return base
    if shutil.which("debootstrap") is None:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "debootstrap"]):
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    print(f"debootstrap {suite} ...", flush=True)
    unfinished = folder / f"{suite}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", suite, str(unfinished), *mirror()]
    with (folder / f"{suite}.log").open("wb") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    unfinished.rename(base)
    return base


def mirror() -> list[str]:
    """Return the Debian mirror of this machine's apt; empty if unknown."""
    sources = [*Path("/etc/apt").glob("sources.list.d/*.sources"), Path("/etc/apt/sources.list")]
    for path in filter(Path.is_file, sources):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] in ("URIs:", "deb"):
                address = next((word for word in words[1:] if "://" in word), "")
                if address.rstrip("/").endswith("/debian"):
                    return [address]
    return []


def copy_root(base: Path, target: Path) -> None:
    """Copy a root with owners, modes and devices."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", base, target], check=True)


def root_with(suite: str, packages: Sequence[str], target: Path, log: Path) -> None:
    """Create a root at ``target`` with Debian's ``packages``, whose services do not start, unless it exists.

    Raises ``subprocess.CalledProcessError`` if a package cannot be installed; ``log`` contains the output.
    """
    if target.is_dir():
        return
    unfinished = target.with_name(f"{target.name}.part")
    copy_root(base_root(suite), unfinished)
    for name in filter(os.path.exists, NAME_RESOLUTION_FILES):
        subprocess.run(["cp", "-L", name, unfinished / name.lstrip("/")], check=True)
    policy = unfinished / "usr" / "sbin" / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    policy.chmod(0o755)
    print(f"installing {', '.join(packages)} of Debian {suite} ...", flush=True)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    environment = {name: value for name, value in os.environ.items() if name.upper().endswith("_PROXY")}
    environment |= {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    with log.open("ab") as stream:
        # Accept a mirror that is a snapshot of some weeks ago; signatures are still checked.
        update = ["apt-get", "-o", "Acquire::Check-Valid-Until=false", "update", "-qq"]
        for command in (update, install):
            entered = command_in_root(unfinished, log.parent, command)
            subprocess.run(entered, env=environment, check=True, stdout=stream, stderr=stream)
    unfinished.rename(target)


def command_in_root(root: Path, shared: Path, command: Sequence[str]) -> list[str]:
    """Return the command line that runs ``command`` in a root with the folder ``shared`` at the same path."""
    return ["unshare", "--mount", "sh", "-c", ENTER_SCRIPT, str(root), str(shared), *command]
