"""A chain that needs science which is not installed here is refused, with the command to install it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from eas import registry
from eas.chains.grammar import parse_chain
from eas.errors import RequestError
from eas.operations.plan import plan_chain, require_installed

ROOT = Path(__file__).parents[2]
KNOWN = registry.load()
SCIENCE = sorted(name for name, each in KNOWN.task_types.items() if each.requires)
HIDING = "import sys; sys.modules['transitleastsquares'] = None; from eas.cli import main; sys.exit(main())"


def extras() -> dict[str, list[str]]:
    with (ROOT / "pyproject.toml").open("rb") as stream:
        found: dict[str, list[str]] = tomllib.load(stream)["project"]["optional-dependencies"]
    return found


def chain(task_type: str) -> str:
    kind = KNOWN.task_types[task_type]
    task = {
        "task": task_type,
        "inputs": dict.fromkeys(kind.inputs, "a.gz"),
        "outputs": dict.fromkeys(kind.outputs, "b.gz"),
    }
    return json.dumps({"task_list": [task]})


def test_there_is_science_to_miss() -> None:
    assert {"synthesis_psls", "transit_search_tls", "transit_search_qats", "transit_search_bls_kovacs"} <= set(SCIENCE)


@pytest.mark.parametrize("task_type", SCIENCE)
def test_each_task_type_names_its_extra(task_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan_chain(parse_chain(chain(task_type), "test.json", KNOWN), KNOWN)
    require_installed(planned, KNOWN)  # all is here
    needed = KNOWN.task_types[task_type].requires[-1]
    monkeypatch.setitem(sys.modules, needed, None)
    with pytest.raises(RequestError, match=f"{task_type} needs .*{needed}") as caught:
        require_installed(planned, KNOWN)
    extra = KNOWN.worker_types[KNOWN.task_types[task_type].worker_type].extra
    assert caught.value.hint == f"pip install 'eas-prefect[{extra}]'"
    assert extras()[extra]


def test_nothing_is_submitted(tmp_path: Path) -> None:
    path = ROOT / "demo_jobs" / "feature_tests" / "all_searches.json"
    environment = {**os.environ, "EAS_HOME": str(tmp_path / "home")}
    for name in ("EAS_DATABASE_URL", "EAS_QUEUE_URL", "EAS_DATA_DIR"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", HIDING, "run", str(path)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'eas-prefect[tls]'" in done.stderr
    assert not list(tmp_path.rglob("*.sqlite"))
