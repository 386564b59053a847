"""Test configurations of single tasks: evaluated like a descriptor of a chain, with the files beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from eas import registry
from eas.cli.try_configuration import read_configuration, sidecar_metadata
from eas.cli.try_task import try_task
from eas.errors import ChainError, RequestError


def written(folder: Path, content: Any, name: str = "test.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_expressions_are_evaluated_and_files_are_beside_the_configuration(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {
            "task": "synthesis_batman",
            "outputs": {"lightcurve": "out/lc.gz"},
            "specs": {"planet_radius": "(constants.Rearth)", "duration": 10},
        },
    )
    found = read_configuration(path, registry.load(), 0)
    assert found.task == "synthesis_batman"
    assert found.settings["specs"]["planet_radius"] == pytest.approx(0.08911486)
    assert found.outputs == {"lightcurve": tmp_path / "out/lc.gz"}


def test_settings_may_be_kept_apart(tmp_path: Path) -> None:
    path = written(tmp_path, {"task": "null", "settings": {"duration": 0}})
    assert read_configuration(path, registry.load(), 0).settings == {"duration": 0}


def test_faults_are_named_by_their_place_in_the_configuration(tmp_path: Path) -> None:
    path = written(tmp_path, {"task": "null", "duration": "(1 +)"})
    with pytest.raises(ChainError) as caught:
        read_configuration(path, registry.load(), 0)
    assert [problem.path for problem in caught.value.problems] == ["duration"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"task_list": []}, "is a task chain"),
        ([1], "not a JSON object"),
        ({"task": "verify", "inputs": ["lc.gz"]}, "inputs is no object of file names"),
        ({"task": "null", "requires_metadata_from": ["a"], "duration": "(requested_metadata['a']['x'])"}, "a"),
    ],
)
def test_what_is_no_test_configuration_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        read_configuration(written(tmp_path, content), registry.load(), 0)


def test_metadata_come_from_the_sidecar(tmp_path: Path) -> None:
    file = tmp_path / "lc.gz"
    assert sidecar_metadata(file) == {}
    written(tmp_path, {"orbital_period": 3.5}, "lc.gz.json")
    assert sidecar_metadata(file) == {"orbital_period": 3.5}
    written(tmp_path, {"orbital_period": [3.5]}, "lc.gz.json")
    with pytest.raises(RequestError, match="orbital_period is not a number"):
        sidecar_metadata(file)


def test_a_configuration_is_run(tmp_path: Path) -> None:
    path = written(tmp_path, {"task": "null", "duration": 0})
    done = CliRunner().invoke(try_task, ["--config", str(path), "--json"], standalone_mode=False)
    assert done.exception is None
    assert json.loads(done.stdout)["passed"]


def test_either_a_type_or_a_configuration_is_given() -> None:
    with pytest.raises(RequestError, match="either a task type or --config"):
        CliRunner().invoke(try_task, [], standalone_mode=False, catch_exceptions=False)
