"""Pictures of plans: loops folded with counts, files and metadata on the arrows, a do-while loop as a cycle."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from eas.chains import drawing
from eas.chains.folded_plan import MAX_BOXES, FoldedPlan, Link, fold
from eas.chains.grammar import load_chain
from eas.errors import RequestError

from .build import REGISTRY, bins, chain, either, loop, makes, null, reads, repeat, searches

ROOT = Path(__file__).parents[3]
BY_INDEX = "'a_{x_index}.gz'.format(**metadata)"


def fold_tasks(*tasks: dict[str, Any]) -> FoldedPlan:
    return fold(chain(*tasks), REGISTRY, "1", job_name="job", working_directory="wd")


def boxes(found: FoldedPlan) -> list[tuple[str, str]]:
    return [(box.kind, box.title) for box in found.root.walk()]


def test_a_loop_is_folded() -> None:
    found = fold_tasks(
        loop("x", [0.5, 1, 2], makes(BY_INDEX, name="lc"), reads(BY_INDEX)), makes("b.gz"), reads("b.gz")
    )
    assert boxes(found) == [
        ("chain", "job"),
        ("loop", "for x: 3 values"),
        ("task", 'synthesis_batman "lc", 3 tasks'),
        ("task", "verify, 3 tasks"),
        ("task", "synthesis_batman"),
        ("task", "verify"),
    ]
    first, second = found.links
    assert first == Link("task_list[0].task_list[0]", "task_list[0].task_list[1]", "wd/a_0.gz", 3)
    assert (first.label, second.label) == ("3 files", "b.gz")


def test_branches_and_metadata() -> None:
    task = either(
        "(requested_metadata['s']['outcome'] == 'PASS')", [null()], [null()], requires_metadata_from=["s"], name="e"
    )
    found = fold_tasks(makes("a.gz"), searches("a.gz", name="s"), task)
    kinds = [("chain", "then"), ("task", "null"), ("chain", "else"), ("task", "null")]
    assert boxes(found)[3][0] == "choice" and boxes(found)[3][1].startswith("if (requested_metadata")
    assert boxes(found)[4:] == kinds
    assert Link("task_list[1]", "task_list[2]", metadata=("outcome",)) in found.links
    assert 'class="metadata"' in drawing.svg(found)
    assert '-.->|"outcome"|' in drawing.mermaid(found)


def test_metadata_on_a_link_have_their_units() -> None:
    asks = null(
        requires_metadata_from=["s"],
        duration="(requested_metadata['s']['period'] + requested_metadata['s']['sde'])",
    )
    search = {"task": "transit_search_tls", "name": "s", "inputs": {"lightcurve": "a.gz"}}
    (link,) = (each for each in fold_tasks(makes("a.gz"), search, asks).links if not each.count)
    assert (link.metadata, link.label) == (("period [days]", "sde"), "period [days], sde")
    whole = null(requires_metadata_from=["s"], duration="(len(requested_metadata['s']))")
    (link,) = (each for each in fold_tasks(makes("a.gz"), search, whole).links if not each.count)
    assert (link.metadata, link.label) == ((), "metadata")


def test_a_box_says_what_its_task_does() -> None:
    assert "<title>task_list[0]\nsleeps</title>" in drawing.svg(fold_tasks(null()))


def test_a_do_while_loop_is_a_cycle() -> None:
    found = fold_tasks(repeat("i", "(requested_metadata['s']['outcome'] != 'PASS')",
                        makes("a.gz"), searches("a.gz", name="s"), requires_metadata_from_child=["s"]))  # fmt: skip
    text = drawing.mermaid(found)
    (name, _), (last, _) = re.findall(r'(n\d+)\["((?:synthesis|transit)[^"]*)"\]', text)
    assert re.search(rf"{last} ==>.*repeat while.* {name}$", text, re.MULTILINE)
    assert 'class="again"' in drawing.svg(found)


def test_loops_that_take_files_of_each_other() -> None:
    found = fold_tasks(
        loop("x", [1], makes("a.gz"), bins("b.gz", "c.gz", cadence=60)),
        loop("y", [1], bins("a.gz", "b.gz", cadence=60), reads("c.gz")),
    )
    assert len(found.links) == 3
    check_picture(found)


def rectangle(element: ET.Element) -> tuple[float, float, float, float]:
    x, y, width, height = (float(element.attrib[name]) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def check_picture(found: FoldedPlan) -> None:
    """Check that a picture is XML, boxes lie in their parents and beside each other, and each link is drawn."""
    tree = ET.fromstring(drawing.svg(found))
    spaces = {"s": "http://www.w3.org/2000/svg"}
    drawn = {
        each.findtext("s:title", "", spaces).partition("\n")[0]: rectangle(each)
        for each in tree.findall("s:rect", spaces)[1:]
    }
    for box in found.root.walk():
        outer = drawn[box.path or box.label]
        inner = [drawn[child.path] for child in box.children]
        assert all(outer[0] < x and outer[1] < y and right < outer[2] and low < outer[3] for x, y, right, low in inner)
        for number, one in enumerate(inner):
            for other in inner[:number]:
                apart = one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
                assert apart, (box.path, one, other)
    paths = [each for each in tree.findall("s:path", spaces) if each.attrib["class"] != "again"]
    assert len(paths) == len(found.links)
    lines = [line.strip() for line in drawing.mermaid(found).splitlines()]
    assert sum(line.startswith("subgraph ") for line in lines) == lines.count("end")


DEMO_JOBS = [path for path in sorted((ROOT / "demo_jobs").rglob("*.json")) if path.stem != "pegasus_scale"]
"""Without the campaign whose plan of 1.3 million tasks takes half a minute: its twin has the same shape."""


@pytest.mark.parametrize("path", DEMO_JOBS, ids=lambda path: path.stem)
def test_demo_jobs(path: Path) -> None:
    if "task_list" not in json.loads(path.read_text(encoding="utf-8")):
        return
    found = fold(load_chain(path, REGISTRY), REGISTRY, "1", job_name=path.stem, working_directory="wd")
    check_picture(found)


def test_names_cannot_be_markup() -> None:
    found = fold_tasks(null(name='<script>"x"</script>'), makes("<b>&\"'.gz"), reads("<b>&\"'.gz", name="]--> end"))
    check_picture(found)
    assert "<script>" not in drawing.html(found) and "<b>" not in drawing.html(found)
    body = drawing.mermaid(found).splitlines()
    assert all(re.fullmatch(r'\s*(flowchart LR|end|subgraph n\d+\["[^"<>\]]*"\]|n\d+\["[^"<>\]]*"\]|'
                            r'n\d+ (-->|-\.->|==>)\|"[^"<>|]*"\| n\d+)', line) for line in body)  # fmt: skip


def test_a_file_with_too_many_tasks() -> None:
    with pytest.raises(RequestError, match=f"at most {MAX_BOXES}"):
        fold_tasks(*(null() for _ in range(MAX_BOXES)))
