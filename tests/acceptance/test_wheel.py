"""The wheel as its users have it: installed, and used from a folder with packages named like ours."""

from __future__ import annotations

import json
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import MAX_TIMEOUT, ROOT, TIMEOUT, clean_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(MAX_TIMEOUT)]

SHIPPED = ("eas", "flows", "blocks", "reports", "infra")
SHADOWS = ("eas", "flows", "blocks", "reports", "infra", "tests")
"""Folders that a user may have, too. Ours must win wherever our own processes import them."""


@dataclass(frozen=True)
class Installation:
    """A virtual environment that holds the wheel, and a user's folder far away from the source tree."""

    wheel: Path
    environment: Path
    folder: Path

    @property
    def python(self) -> str:
        return str(self.environment / "bin" / "python")

    def run(self, *command: str | Path, code: int = 0, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [*map(str, command)],
            cwd=cwd or self.folder,
            env=clean_environment() | {"PREFECT_HOME": str(self.environment / "prefect")},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    def eas(self, *arguments: str | Path, code: int = 0) -> str:
        return self.run(self.environment / "bin" / "eas", *arguments, code=code)


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the tracked files: an old build/ in the tree must not leak into it."""
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(python: str | Path, *arguments: str | Path) -> None:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr


def shadow(folder: Path, names: Sequence[str]) -> None:
    """Make packages that must not be imported."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('this is not the package of EAS')\n")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Build the wheel and install it into a new environment; its dependencies are those of this environment."""
    base = tmp_path_factory.mktemp("wheel")
    wheel = build_wheel(base / "built")
    environment = base / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    (packages,) = environment.glob("lib/python3*/site-packages")
    pip(sys.executable, "install", "--no-deps", "--no-index", "--prefix", environment, "--ignore-installed", wheel)
    # A plain path, whose own .pth files are not read: the editable installation beside it stays out.
    found = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()}
    (packages / "dependencies.pth").write_text("\n".join(sorted(found)))
    folder = base / "unrelated"
    shadow(folder, SHADOWS)
    (folder / "null.json").write_text(json.dumps({"job_name": "n", "task_list": [{"task": "null", "duration": 0}]}))
    return Installation(wheel, environment, folder)


def test_the_wheel_holds_types_and_data_and_no_service_installer(installation: Installation) -> None:
    names = set(zipfile.ZipFile(installation.wheel).namelist())
    assert {f"{package}/py.typed" for package in SHIPPED} <= names
    assert {"eas/registry.yaml", "eas/taskdb/migrations/versions/0001_first_schema.py"} <= names
    assert {"infra/images/Containerfile", "infra/work_pools/kubernetes.json"} <= names
    assert not [name for name in names if name.startswith(("infra/services", "infra/fresh_machine"))]
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == set(SHIPPED)


def test_the_wheel_is_imported_and_not_the_source_tree(installation: Installation) -> None:
    code = f"import importlib; print(*(importlib.import_module(n).__file__ for n in {SHIPPED!r}), sep='\\n')"
    for path in installation.run(installation.python, "-P", "-c", code).split():
        assert Path(path).is_relative_to(installation.environment)


def test_eas_run_works_beside_packages_of_the_same_names(installation: Installation) -> None:
    assert json.loads(installation.eas("run", "null.json", "--workers", "1", "--json"))["state"] == "done"


def test_eas_schedule_works_beside_packages_of_the_same_names(installation: Installation) -> None:
    installation.eas("submit", "null.json")
    assert "1 jobs done, 0 failed" in installation.eas("schedule", "--workers", "1", "--until-idle", "1")


@pytest.mark.parametrize("name", ["progress", "pass-fail", "timings", "tree", "errors"])
def test_reports_work_beside_packages_of_the_same_names(installation: Installation, name: str) -> None:
    assert installation.eas("report", name)


def test_python_m_eas_works_beside_packages_of_the_same_names(installation: Installation, tmp_path: Path) -> None:
    # All but eas itself: `python -m` looks for that one in the working directory before any code of ours runs.
    shadow(tmp_path, [name for name in SHADOWS if name != "eas"])
    assert "tasks" in installation.run(installation.python, "-m", "eas", "report", "progress", cwd=tmp_path)


def test_a_package_of_task_types_passes_strict_type_checks(installation: Installation) -> None:
    example = ROOT / "docs" / "example_task_package" / "src" / "eas_example"
    copied = installation.folder / "example" / "eas_example"
    shutil.copytree(example, copied)
    cache = installation.environment / "mypy"
    installation.run(installation.python, "-P", "-m", "mypy", "--strict", "--cache-dir", cache, copied)
