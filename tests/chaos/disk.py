"""The disk under the processes: a small one, which fills up."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

DISK_MEGABYTES = 512


def can_mount() -> bool:
    """Return whether this process may mount file systems."""
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


class Disk:
    """A file system of its own in a folder (tmpfs), which can be filled; without root it is the folder alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.mounted = can_mount()
        if self.mounted:
            options = f"size={DISK_MEGABYTES}m"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave not a byte free."""
        with self._ballast.open("ab") as stream, contextlib.suppress(OSError):
            piece = bytes(1 << 20)
            while True:
                stream.write(piece)
                stream.flush()
        with self._ballast.open("ab", buffering=0) as stream, contextlib.suppress(OSError):
            while True:
                stream.write(bytes(4096))

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)

    def close(self, kept: Path | None = None) -> None:
        """Unmount it; its files go with it unless ``kept`` names a folder for them."""
        self.free()
        if not self.mounted:
            return
        if kept is not None:
            shutil.copytree(self.folder, kept, symlinks=True)
        subprocess.run(["umount", "--lazy", self.folder], check=False)
