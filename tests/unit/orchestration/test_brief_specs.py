"""What an orchestrator keeps of each of 10^6 tasks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eas import registry as registries
from eas.chains.expansion import Expander
from eas.chains.grammar import parse_chain
from eas.model import BriefSpec, LoopMetadata, TaskSpec
from eas.orchestration.dependency_graph import Node

SPEC = TaskSpec("0.3.1", "task_list[0]", "null", "b", "job", "wd", {"x": 1}, {"duration": 0}, {}, {"out": "a.lc"})


def test_metadata_of_an_iteration_are_like_a_dictionary() -> None:
    metadata = LoopMetadata({"x": 0, "x_index": 1}, (0.5, 3))
    assert metadata == {"x": 0.5, "x_index": 3}
    assert {**metadata} == {"x": 0.5, "x_index": 3}
    assert "{x} {x_index}".format(**metadata) == "0.5 3"
    assert metadata.get("y", 7) == 7
    assert repr(metadata) == repr({"x": 0.5, "x_index": 3})
    with pytest.raises(KeyError):
        metadata["y"]


@pytest.mark.parametrize("parameter", ["size", "given"])
def test_iterations_share_the_names_and_keep_their_order(parameter: str) -> None:
    inner: dict[str, Any] = {"task": "null"}
    for name, values in ((parameter, [4, 5]), ("other", [2]), ("given", [1])):
        inner = {"task": "execution_for_loop", "parameter": name, "values": values, "task_list": [inner]}
    document = {"job_name": "j", "working_directory": "w", "task_list": [inner]}
    registry = registries.load()
    expander = Expander(parse_chain(json.dumps(document), "j.json", registry), registry, "0")
    spec = expander.root("j", "w")
    while len(children := list(expander.children(spec))) == 1:
        (spec,) = children
    outer = {"given": 1, "given_index": 0, "other": 2, "other_index": 0}
    expected = [outer | {parameter: value, f"{parameter}_index": index} for index, value in enumerate([4, 5])]
    assert [dict(child.metadata) for child in children] == expected
    assert [list(child.metadata) for child in children] == [list(each) for each in expected]


def test_a_node_releases_what_sql_holds() -> None:
    node = Node(7, 1, SPEC)
    label = node.label
    assert node.details is SPEC
    node.forget_details()
    assert node.spec == BriefSpec("null", "b", {"x": 1}, 1)
    assert (node.label, node.task_type, node.spec.pending, node.is_control) == (label, "null", False, False)
    with pytest.raises(AssertionError, match="were released"):
        node.details  # noqa: B018
    node.forget_details()
    assert node.spec == BriefSpec("null", "b", {"x": 1}, 1)
