"""Build the images with podman or docker: ``python -m infra.images.build [TARGET ...]``."""

from __future__ import annotations

import argparse
import os
import platform as host
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import eas
from infra.images import TARGETS

ROOT = Path(__file__).resolve().parents[2]
FILE = Path("infra/images/Containerfile")
SECRETS = {"pip_conf": "PIP_CONFIG_FILE", "uv_conf": "UV_CONFIG_FILE", "certificates": "SSL_CERT_FILE"}
"""Secrets of the Containerfile, and the environment variables with the paths of their files."""
CPU_NAMES = {"amd64": "x86-64-v3"}
"""CPU for which numba compiles, by architecture; default: *generic*, which runs on every CPU of the architecture."""


def find_container_tool() -> str | None:
    """Return the path of podman or docker, whichever works, or of ``CONTAINER_ENGINE``; None if none works."""
    wanted = os.environ.get("CONTAINER_ENGINE")
    for name in [wanted] if wanted else ["podman", "docker"]:
        path = shutil.which(name)
        if path and subprocess.run([path, "info"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def revision() -> str:
    """Return the commit of the images, with *-dirty* after uncommitted changes."""
    command = ["git", "describe", "--always", "--dirty", "--tags"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def tags(registry: str, target: str, at: str) -> list[str]:
    """Return the full names of an image, tagged with the release and with the commit."""
    names = [eas.__version__, *([] if at == "unknown" else [at])]
    return [f"{registry}/eas-{target}:{name}" for name in dict.fromkeys(names)]


def architecture(platform: str | None) -> str:
    """Return the container tools' name for the architecture of a platform; default: this machine's."""
    if platform:
        return platform.partition("/")[2].partition("/")[0]
    machine = host.machine().lower()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def command(
    tool: str,
    target: str,
    *,
    base: str | None,
    registry: str,
    at: str,
    environment: Mapping[str, str],
    extra: Sequence[str],
    platform: str | None = None,
) -> list[str]:
    """Return the command that builds a target, for a platform such as ``linux/arm64``; default: this machine's."""
    arguments = [tool, "build", "--file", str(FILE), "--target", target]
    for name in tags(registry, target, at):
        arguments += ["--tag", name]
    values = {"VERSION": eas.__version__, "REVISION": at} | ({"BASE_IMAGE": base} if base else {})
    values["NUMBA_CPU_NAME"] = environment.get("NUMBA_CPU_NAME") or CPU_NAMES.get(architecture(platform), "generic")
    if platform:
        arguments += ["--platform", platform]
    for name, value in values.items():
        arguments += ["--build-arg", f"{name}={value}"]
    for name, variable in SECRETS.items():
        path = environment.get(variable)
        if path and Path(path).is_file():
            arguments += ["--secret", f"id={name},src={path}"]
    return [*arguments, *extra, "."]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the given targets, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.images.build", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"any of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--base-image", default=os.environ.get("BASE_IMAGE"), help="Debian or Ubuntu with python3")
    parser.add_argument("--platform", help="such as linux/arm64; default: that of this machine")
    parser.add_argument("--registry", default="localhost", help="prefix of the names; default: localhost")
    parser.add_argument(
        "--build-option", action="append", default=[], help="option for the tool, as --build-option=--isolation=chroot"
    )
    given = parser.parse_args(arguments)
    if unknown := set(given.targets) - set(TARGETS):
        parser.error(f"unknown targets {', '.join(sorted(unknown))}; available: {', '.join(TARGETS)}")
    tool, at = find_container_tool(), revision()
    if tool is None:
        print("error: neither podman nor docker works\n  -> install podman, or start docker", file=sys.stderr)
        return 3
    extra = [*os.environ.get("BUILD_OPTIONS", "").split(), *given.build_option]
    for target in given.targets or TARGETS:
        began = time.monotonic()
        line = command(
            tool, target, base=given.base_image, registry=given.registry, at=at, environment=os.environ, extra=extra,
            platform=given.platform,
        )  # fmt: skip
        done = subprocess.run(line, cwd=ROOT, check=False)
        if done.returncode:
            print(f"error: building {target} failed: {' '.join(line)}", file=sys.stderr)
            return 1
        print(f"{tags(given.registry, target, at)[0]}: built in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
