"""The picture of a lineage: makers on the left, readers on the right, a bounded number of boxes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from eas.taskdb.queries.lineage import Edge, Lineage
from eas.web import lineage_picture


def a_task(number: int) -> Any:
    return SimpleNamespace(id=number, task_type="null", name=None, metadata="{}", state="done")


def a_file(number: int) -> Any:
    return SimpleNamespace(id=number, working_directory="wd", name=f"file{number}")


def lineage(tasks: range, files: range, *edges: Edge) -> Lineage:
    return Lineage(1, {each: a_task(each) for each in tasks}, {each: a_file(each) for each in files}, list(edges))


def test_makers_are_left_of_the_file_and_readers_right():
    up = lineage(range(10, 11), range(1, 3), Edge(10, 1, "out", 0), Edge(10, 2, "in", 0))
    down = lineage(range(20, 21), range(1, 2), Edge(20, 1, "in", 0))
    picture = lineage_picture.draw(up, down)
    places = {box["key"]: box["x"] for box in picture["boxes"]}
    assert places["file", 2] < places["task", 10] < places["file", 1] < places["task", 20]
    assert min(places.values()) == 2
    assert len(picture["lines"]) == 3
    assert not picture["cut"]
    assert {box["address"] for box in picture["boxes"]} == {"/files/1", "/files/2", "/tasks/10", "/tasks/20"}


def test_many_readers_are_cut():
    down = lineage(range(20, 60), range(1, 2), *(Edge(each, 1, "in", 0) for each in range(20, 60)))
    picture = lineage_picture.draw(lineage(range(0), range(1, 2)), down)
    assert len(picture["boxes"]) == 1 + lineage_picture.MAX_ROWS
    assert len(picture["lines"]) == lineage_picture.MAX_ROWS
    assert picture["cut"]


def test_a_file_without_relatives_is_one_box():
    picture = lineage_picture.draw(lineage(range(0), range(1, 2)), lineage(range(0), range(1, 2)))
    assert [box["key"] for box in picture["boxes"]] == [("file", 1)]
    assert picture["lines"] == []


def test_a_task_that_reads_and_makes_one_file_is_drawn():
    loop = lineage(range(5, 6), range(1, 2), Edge(5, 1, "out", 0), Edge(5, 1, "in", 0))
    assert len(lineage_picture.draw(loop, loop)["boxes"]) == 2
