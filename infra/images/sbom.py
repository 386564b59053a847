"""Bills of materials of the images, as CycloneDX: ``python -m infra.images.sbom CYCLONEDX_PY FOLDER [TARGET ...]``.

They list the Python packages of an image, at the locked versions and with their hashes. ``make sbom`` calls this, with
the ``cyclonedx-py`` of an environment of its own. The packages of the Debian below are those of ``BASE_IMAGE``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from infra.images import CORE_EXTRAS, TARGETS

ROOT = Path(__file__).resolve().parents[2]


def compile_command(target: str, output: Path) -> list[str]:
    """Return the command that writes the locked packages of an image into a file, for all Pythons and machines."""
    extras = [word for extra in (*CORE_EXTRAS, *TARGETS[target]) for word in ("--extra", extra)]
    uv = str(Path(sys.executable).with_name("uv"))
    options = [
        "--quiet",
        "--universal",
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        "--python-version",
        "3.11",
    ]
    return [
        uv,
        "pip",
        "compile",
        *options,
        "--constraint",
        "requirements.txt",
        *extras,
        "pyproject.toml",
        "-o",
        str(output),
    ]


def write(cyclonedx: Path, folder: Path, target: str) -> Path:
    """Write the bill of materials of an image; return its path."""
    path = folder / f"sbom-image-{target}.json"
    with tempfile.TemporaryDirectory() as temporary:
        lock = Path(temporary) / "requirements.txt"
        subprocess.run(compile_command(target, lock), cwd=ROOT, check=True)
        options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--validate", "--of", "JSON"]
        command = [str(cyclonedx), "requirements", *options, "-o", str(path.absolute()), str(lock)]
        subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    return path


def main() -> None:
    """Write those of all images, or of the targets that are named."""
    cyclonedx, folder, *targets = sys.argv[1:]
    for target in targets or TARGETS:
        sys.stdout.write(f"{write(Path(cyclonedx).absolute(), Path(folder), target)}\n")


if __name__ == "__main__":
    main()
