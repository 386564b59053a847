"""Bills of materials of the images, as CycloneDX: ``python -m infra.images.sbom CYCLONEDX_PY FOLDER [TARGET ...]``.

They list the Python packages of an image with locked versions and hashes, but not the Debian packages of
``BASE_IMAGE``. ``make sbom`` calls this module with the ``cyclonedx-py`` of a separate environment.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from infra.images import CORE_EXTRAS, TARGETS

ROOT = Path(__file__).resolve().parents[2]


def compile_command(target: str, output: Path) -> list[str]:
    """Return the command that writes the locked packages of an image, for all Python versions and platforms."""
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
    """Write the bills of materials of all images, or of the given targets."""
    cyclonedx, folder, *targets = sys.argv[1:]
    for target in targets or TARGETS:
        sys.stdout.write(f"{write(Path(cyclonedx).absolute(), Path(folder), target)}\n")


if __name__ == "__main__":
    main()
