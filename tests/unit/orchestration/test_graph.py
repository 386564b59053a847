"""The dependency graph alone: what becomes ready, blocked and settled, and in which order."""

from __future__ import annotations

from typing import Any

from eas.model import CHAIN, DO_WHILE, TaskSpec
from eas.names import loop_label
from eas.orchestration.dependency_graph import DependencyGraph, Node
from eas.states import TaskState


def node(task_id: int, parent: int | None = 1, **fields: Any) -> Node:
    given = {"task_type": "null", "name": None, "metadata": {}, "pending": False} | fields
    state = given.pop("state", TaskState.WAITING)
    held = given.pop("held", False)
    spec = TaskSpec(
        address=f"0.{given.pop('ordinal', task_id)}",
        path="",
        job_name="job",
        working_directory="wd",
        settings={},
        inputs={},
        outputs={},
        **given,
    )
    return Node(task_id, parent, spec, state, withdrawn=held)


def graph_of(*nodes: Node) -> DependencyGraph:
    graph = DependencyGraph()
    graph.add(node(1, None, task_type=CHAIN, state=TaskState.RUNNING))
    for each in nodes:
        graph.add(each)
    return graph


def connect(graph: DependencyGraph) -> None:
    for task_id in list(graph.nodes):
        graph.mark_ready(task_id)


def test_a_task_is_ready_when_its_last_maker_is_done() -> None:
    graph = graph_of(node(2), node(3), node(4))
    graph.add_output(2, 10)
    graph.add_output(3, 11)
    graph.add_input(4, 10)
    graph.add_input(4, 11)
    connect(graph)
    assert list(graph.ready) == [2, 3]
    graph.settle(2, TaskState.DONE)
    assert 4 not in graph.ready
    graph.settle(3, TaskState.DONE)
    assert 4 in graph.ready


def test_a_maker_that_comes_later_takes_over_unresolved_inputs() -> None:
    graph = graph_of(node(2))
    graph.add_input(2, 10)
    connect(graph)
    assert not graph.ready
    assert graph.unresolved_inputs == {10: [2]}
    graph.add(node(3))
    assert graph.add_output(3, 10) is None
    assert graph.unresolved_inputs == {}
    graph.settle(3, TaskState.DONE)
    assert list(graph.ready) == [2]


def test_a_failure_blocks_all_that_hangs_on_it_and_names_itself() -> None:
    graph = graph_of(node(2, metadata={"size": 0.5, "size_index": 0}), node(3), node(4))
    graph.add_output(2, 10)
    graph.add_output(3, 11)
    graph.add_input(3, 10)
    graph.add_input(4, 11)
    graph.settle(2, TaskState.FAILED)
    assert graph.nodes[3].state is graph.nodes[4].state is TaskState.BLOCKED
    assert graph.nodes[4].reason == "blocked by null [size=0.5] (task 2), which failed"


def test_a_reader_that_comes_after_the_failure_is_blocked_too() -> None:
    graph = graph_of(node(2), node(3))
    graph.add_output(2, 10)
    graph.settle(2, TaskState.FAILED)
    graph.add_input(3, 10)
    assert graph.nodes[3].state is TaskState.BLOCKED


def test_parents_settle_with_their_last_child() -> None:
    graph = graph_of(node(2, task_type=CHAIN, state=TaskState.RUNNING), node(3, 2), node(4, 2), node(5))
    for task_id, state in ((3, TaskState.DONE), (4, TaskState.FAILED)):
        graph.settle(task_id, state)
    assert graph.take_settled(lambda _: True) == [3, 4, 2]
    assert graph.nodes[2].state is TaskState.FAILED
    graph.settle(5, TaskState.DONE)
    assert graph.take_settled(lambda _: True) == [5, 1]
    assert graph.nodes[1].state is TaskState.FAILED


def test_a_loop_that_goes_on_does_not_settle() -> None:
    graph = graph_of(node(2, task_type=DO_WHILE, state=TaskState.RUNNING), node(3, 2))
    graph.settle(3, TaskState.DONE)
    assert graph.take_settled(lambda control: control.task_type != DO_WHILE) == [3]
    assert graph.nodes[2].state is TaskState.RUNNING


def test_two_makers_are_reported_but_iterations_of_a_loop_are_not() -> None:
    loop = node(2, task_type=DO_WHILE, state=TaskState.RUNNING)
    first, second = (node(number, 2, task_type=CHAIN, state=TaskState.RUNNING) for number in (3, 4))
    graph = graph_of(loop, first, second, node(5, 3), node(6, 4), node(7))
    assert graph.add_output(5, 10) is None
    assert graph.add_output(6, 10) is None
    assert graph.maker_of[10] == 6
    assert graph.add_output(7, 10) == 6


def test_requires_looks_among_earlier_siblings_only() -> None:
    graph = graph_of(node(2, name="a", ordinal=0), node(3, ordinal=1), node(4, name="a", ordinal=2))
    assert graph.add_sibling_dependencies(3, ["a"]) is None
    assert list(graph.nodes[3].makers) == [2]
    assert graph.add_sibling_dependencies(2, ["a"]) == "a"
    assert graph.add_sibling_dependencies(3, ["b"]) == "b"


def test_a_cycle_is_found_with_its_members() -> None:
    graph = graph_of(node(2), node(3), node(4))
    for task_id, made, read in ((2, 10, 11), (3, 11, 10), (4, 12, 10)):
        graph.add_output(task_id, made)
        graph.add_input(task_id, read)
    connect(graph)
    assert not graph.ready
    assert {member.task_id for member in graph.find_cycle()} == {2, 3}


def test_what_comes_from_outside_counts_down() -> None:
    graph = graph_of(node(2), node(3))
    graph.add_input(2, 10)
    graph.add_input(3, 11)
    graph.input_available(10)
    graph.input_unavailable(11, "nothing makes it")
    assert list(graph.ready) == [2]
    assert graph.nodes[3].reason == "nothing makes it"


def test_counts_follow_every_move() -> None:
    graph = graph_of(node(2), node(3, task_type=None, pending=True))
    assert graph.unexpanded == 1
    graph.configured(3, node(3, task_type="verify").spec)
    assert graph.unexpanded == 0
    graph.set_state(2, TaskState.QUEUED)
    assert {key: count for key, count in graph.counts.items() if count} == {
        (CHAIN, TaskState.RUNNING): 1,
        ("null", TaskState.QUEUED): 1,
        ("verify", TaskState.WAITING): 1,
    }


def test_a_label_shows_loop_values_and_the_indices_of_while_loops() -> None:
    metadata = {"size": 0.0891234, "size_index": 3, "tda": "tls", "tda_index": 0, "turn_index": 2}
    assert loop_label(metadata) == "size=0.08912, tda=tls, turn=2"
