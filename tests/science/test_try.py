"""``eas try``, and the example of a third party's task type run by it as its author would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "example_task_package"
SPECS = {"duration": 10, "orbital_period": 4, "semi_major_axis": 0.05, "noise": 3e-4, "sampling_cadence": 1800}


def eas(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "eas", *arguments]
    env = {**os.environ, "EAS_HOME": str(folder / "home"), **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100)


def synthesise(folder: Path, **environment: str) -> dict[str, Any]:
    options = [f"--set=specs.{name}={value}" for name, value in SPECS.items()]
    done = eas(folder, "try", "synthesis_batman", "--output", "lightcurve=lc.gz", *options, "--json", **environment)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_task_runs_on_local_files_alone(tmp_path: Path) -> None:
    answer = synthesise(tmp_path)
    assert answer["passed"] and answer["metadata"]["orbital_period"] == 4
    assert all(passed for _, passed, _ in answer["checks"])
    assert (tmp_path / "lc.gz").stat().st_size > 1000
    assert not (tmp_path / "home").exists()
    done = eas(tmp_path, "try", "verify", "--input", "lightcurve=lc.gz")
    assert done.returncode == 0
    assert "verification = true" in done.stdout and "QC passed" in done.stdout


def test_metadata_that_are_not_declared_are_reported(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        "from eas.task_api import Task\nclass Odd(Task):\n    def run(self, context):\n        return {'x': 1}\n"
        "def types():\n    return {'task_types': {'odd': {'worker_type': 'eas-base', 'implementation': 'odd:Odd',"
        " 'metadata': []}}}\n"
    )
    (tmp_path / "odd-1.dist-info").mkdir()
    (tmp_path / "odd-1.dist-info" / "entry_points.txt").write_text("[eas.task_types]\nodd = odd:types\n")
    (tmp_path / "odd-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    done = eas(tmp_path, "try", "odd", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert "WARNING: x is returned, and is not declared: correct the declaration" in done.stderr


def test_failures_are_reported(tmp_path: Path) -> None:
    done = eas(tmp_path, "try", "error")
    assert done.returncode == 1
    assert "failed: eas.tasks.trivial.DeliberateError" in done.stdout and "Traceback" in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["sythesis_batman"], "synthesis_batman"),
        (["execution_chain"], "is a control task"),
        (["transit_search_exotrans"], "reserved"),
        (["verify"], "--input lightcurve=FILE"),
        (["verify", "--input", "lightcurve=nowhere.gz"], "nowhere.gz"),
        (["verify", "--input", "lightcurve"], "is not NAME=VALUE"),
        (["null", "--set", "a=1", "--set", "a.b=1"], "is already a value"),
    ],
)
def test_requests_that_cannot_be_met(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = eas(tmp_path, "try", *arguments)
    assert done.returncode == 2
    assert message in done.stderr and "->" in done.stderr


@pytest.mark.slow
def test_the_example_package_adds_a_task_type(tmp_path: Path) -> None:
    source, site = tmp_path / "package", tmp_path / "site"
    shutil.copytree(EXAMPLE, source)
    options = ["--quiet", "--no-deps", "--target", str(site), str(source)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options], check=True, timeout=100)
    environment = {"PYTHONPATH": str(site)}
    synthesise(tmp_path, **environment)
    arguments = ["--input", "lightcurve=lc.gz", "--output", "lightcurve=clipped.gz", "--set", "threshold=2", "--json"]
    done = eas(tmp_path, "try", "sigma_clip", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert 0 < answer["metadata"]["clipped"] < 50
    assert "declar" not in done.stderr
    assert answer["checks"][-1][:2] == ["most samples are left", True]
    assert (tmp_path / "clipped.gz").exists()
    assert eas(tmp_path, "validate", str(source / "chain.json"), **environment).returncode == 0
    done = eas(tmp_path, "try", "sigma_clip", "--input", "lightcurve=lc.gz", "--output", "lightcurve=x.gz",
               "--set", "threshold=0.001", **environment)  # fmt: skip
    assert done.returncode == 1 and "most samples are left" in done.stdout
