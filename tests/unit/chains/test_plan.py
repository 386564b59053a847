"""A plan counts exactly where nothing depends on data, gives bounds where it does, and finds what cannot work."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from eas.chains.plan import plan
from eas.errors import ChainError

from .build import (
    FILE,
    PASSED,
    REGISTRY,
    bins,
    campaign_chain,
    chain,
    either,
    loop,
    makes,
    null,
    planned,
    reads,
    repeat,
    searches,
)

WAITS = {"requires_metadata_from": ["transit_detection"]}
SEARCH = searches("x.gz", name="transit_detection")


def problems(*tasks: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ChainError) as caught:
        planned(*tasks)
    assert all(problem.hint for problem in caught.value.problems)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_real_life_sweep() -> None:
    found = planned(campaign_chain())
    assert found.tasks == {
        "execution_chain": (1 + 2 + 4 + 4 + 40, 51),
        "execution_for_loop": (1 + 2 + 4 + 4, 11),
        "synthesis_batman": (40, 40),
        "transit_search_bls_reference": (20, 20),
        "transit_search_tls": (20, 20),
        "verify": (40, 40),
    }
    assert found.total == (182, 182)
    assert found.leaves == (120, 120)
    assert found.product_count == (40, 40)
    assert found.longest_path == 2
    assert found.depth == 10
    assert not found.dynamic
    assert found.external == ()
    assert found.worker_types == (
        "eas-base", "eas-worker-bls-reference", "eas-worker-synthesis-psls-batman", "eas-worker-tls",
    )  # fmt: skip
    products = list(found.each_product())
    assert len(products) == 40
    assert products[0][:2] == ("wd", "evsize_batman_0_0_0.gz")
    assert products[0][2].task_type == "synthesis_batman"
    assert products[0][2].path.endswith("task_list[0].task_list[0]")


def test_json() -> None:
    found = planned(makes("a.gz"), reads("a.gz"), reads("b.gz")).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["tasks"] == {
        "execution_chain": {"min": 1, "max": 1},
        "synthesis_batman": {"min": 1, "max": 1},
        "verify": {"min": 2, "max": 2},
    }
    assert found["total"] == {"min": 4, "max": 4}
    assert found["products"] == {"min": 1, "max": 1}
    assert found["external_inputs"] == [
        {"working_directory": "wd", "file_name": "b.gz", "path": "task_list[2].inputs.lightcurve"}
    ]


def test_conditional_that_depends_on_data_gives_bounds() -> None:
    yes = [null(), null(), makes("a.gz")]
    no = [null(), {"task": "error"}, makes("a.gz"), makes("b.gz")]
    found = planned(makes("x.gz"), SEARCH, either(PASSED, yes, no, **WAITS))
    assert found.dynamic
    assert found.tasks["null"] == (1, 2)
    assert found.tasks["error"] == (0, 1)
    assert found.tasks["synthesis_batman"] == (2, 3)
    assert found.tasks["execution_conditional"] == (1, 1)
    assert found.total == (4 + 3, 4 + 4)
    assert found.product_count == (2, 3)
    assert found.longest_path == 3


def test_conditional_that_does_not_depend_on_data_is_exact() -> None:
    found = planned(
        loop("x", [0, 1, 2], either("(metadata['x'] > 0)", [null()], [{"task": "error"}, {"task": "error"}]))
    )
    assert not found.dynamic
    assert found.tasks["null"] == (2, 2)
    assert found.tasks["error"] == (2, 2)


def test_do_while_that_depends_on_data_runs_at_least_once() -> None:
    inside = [SEARCH, loop("a", [1, 2], null())]
    task = repeat("i", PASSED, *inside, requires_metadata_from_child=["transit_detection"])
    found = planned(makes("x.gz"), task)
    assert found.dynamic
    assert found.tasks == {
        "execution_chain": (1 + 1 + 2, None),
        "execution_do_while_loop": (1, 1),
        "execution_for_loop": (1, None),
        "null": (2, None),
        "synthesis_batman": (1, 1),
        "transit_search_bls_reference": (1, None),
    }
    assert found.total == (10, None)
    assert found.open_products == ()


def test_do_while_that_counts_is_exact() -> None:
    task = repeat("i", "(metadata['i_index'] < 4)", makes("x.gz"), reads("x.gz"))
    found = planned(task)
    assert not found.dynamic
    assert found.tasks["verify"] == (4, 4)
    assert found.tasks["execution_chain"] == (5, 5)
    assert found.product_count == (1, 1)
    assert found.longest_path == 8


def test_do_while_without_end() -> None:
    [(path, message)] = problems(repeat("i", "(metadata['i_index'] > 0)"))
    assert path == "task_list[0].repeat_criterion"
    assert "still repeats" in message


def test_real_life_do_while() -> None:
    criterion = PASSED + " and (metadata['tda_loop_index'] < 3)"
    inside = [
        reads(FILE, name="lightcurve_verification"),
        searches(FILE, name="transit_detection", outputs={"debugging": "'d_{size_index}.tar.gz'.format(**metadata)"}),
    ]
    task = repeat("tda_loop", criterion, *inside, requires_metadata_from_child=["transit_detection"])
    sweep = loop("tda", ["tls"], loop("cadence", [900], loop("size", [1, 2, 3], makes(FILE), task)))
    found = planned(sweep)
    assert found.total == (1 + 3 + (1 + 1 + 3) + 3 * 5, None)
    assert found.product_count == (6, None)
    assert len(found.open_products) == 1


def test_loop_whose_length_depends_on_data() -> None:
    values = "(range(requested_metadata['transit_detection']['transit_count']))"
    found = planned(SEARCH, loop("n", values, null(), either(False, [], [reads("y.gz")]), **WAITS))
    assert found.tasks["null"] == (0, None)
    assert found.tasks["verify"] == (0, None)
    assert found.tasks["execution_chain"] == (1, None)
    assert found.total == (3, None)
    assert found.open_products == ("task_list[1]",)


def test_task_type_that_depends_on_data() -> None:
    task = {"task": "(requested_metadata['transit_detection']['next'])", **WAITS}
    found = planned(SEARCH, task)
    assert found.tasks["undetermined"] == (1, 1)
    assert found.open_products == ("task_list[1]",)


def test_directory_that_depends_on_data() -> None:
    where = "(requested_metadata['transit_detection']['where'])"
    inside = {
        "task": "execution_chain",
        "working_directory": where,
        "task_list": [makes("a.gz"), makes("a.gz")],
        **WAITS,
    }
    found = planned(SEARCH, inside, reads("a.gz"))
    assert found.product_count == (2, 2)
    assert len(found.open_products) == 2
    assert [each.file_name for each in found.external] == ["x.gz", "a.gz"]


def test_controls_wait_and_are_waited_for() -> None:
    named = either(PASSED, [makes("b.gz")], [], name="c", **WAITS)
    found = planned(makes("x.gz"), SEARCH, named, null(requires_metadata_from=["c"]))
    assert found.longest_path == 4
    assert planned(makes("q.gz"), loop("x", [1], null(), inputs={"a": "q.gz"})).longest_path == 2


def test_external_inputs_and_open_makers() -> None:
    found = planned(loop("x", [1, 2], reads("in.gz"), either(PASSED, [reads("c.gz")], [], **WAITS), SEARCH) | {
        "task_list": [reads("in.gz"), SEARCH, either(PASSED, [reads("c.gz")], [], **WAITS)]
    })  # fmt: skip
    assert [(each.file_name, each.certain) for each in found.external] == [
        ("in.gz", True), ("x.gz", True), ("c.gz", False),
    ]  # fmt: skip
    assert found.external[0].path == "task_list[0].task_list[0].inputs.lightcurve"
    ingest = {"task": "ingest_external_lcs", "lc_type": "lcsg", "input_path": "*"}
    assert planned(ingest).open_products == ("task_list[0]",)


def test_products_are_known_by_working_directory() -> None:
    found = planned(makes("a.gz"), makes("a.gz", working_directory="b"), reads("a.gz", working_directory="c"))
    assert found.product_count == (2, 2)
    assert [each.working_directory for each in found.external] == ["c"]


def test_order_of_the_list_means_nothing() -> None:
    found = planned(reads("c.gz"), bins("b.gz", "c.gz"), loop("x", [1], bins("a.gz", "b.gz")), makes("a.gz"))
    assert found.longest_path == 4
    assert found.external == ()


@pytest.mark.parametrize(
    ("tasks", "path", "message"),
    [
        ([makes("a.gz"), makes("a.gz")], "task_list[1].outputs.lightcurve", "made by task_list[0] too"),
        ([loop("x", [1, 2], makes("a.gz"))], "task_list[0].task_list[0].outputs.lightcurve", "more than once"),
        ([bins("a.gz", "a.gz")], "task_list[0]", "depends on itself"),
        ([bins("a.gz", "b.gz"), bins("b.gz", "a.gz")], "task_list[0]", "task_list[1]"),
        (
            [bins("a.gz", "b.gz"), loop("x", [1], bins("b.gz", "c.gz")), bins("c.gz", "a.gz")],
            "task_list[0]",
            "task_list[1].task_list[0]",
        ),
        # The search reads what only a branch makes that waits for the search.
        ([SEARCH, either(PASSED, [makes("x.gz")], [], **WAITS)], "task_list[0]", "task_list[1]"),
        # The whole chain named `c` must be done before what it reads is made.
        (
            [
                {"task": "execution_chain", "name": "c", "task_list": [reads("y.gz")]},
                makes("y.gz", requires_metadata_from=["c"]),
            ],
            "task_list[0]",
            "dependency cycle",
        ),
        # The first iteration reads what only the second one makes.
        (
            [repeat("i", "(metadata['i_index'] < 2)", makes("'f_{i_index}.gz'.format(**metadata)"),
                    reads("'f_{}.gz'.format(3 - metadata['i_index'])"))],
            "task_list[0]",
            "dependency cycle",
        ),
        ([loop("x", ["(0 * 1)", 1, 3], null(), key="log_range")], "task_list[0]", "not above 0"),
        ([loop("x", [1, 2], null(note="(metadata['y'])"))], "task_list[0].task_list[0].note", "no key 'y'"),
        (
            [loop("x", ["a"], null(name="'n_{x}'.format(**metadata)"), null(requires_metadata_from=["n_b"]))],
            "task_list[0].task_list[1].requires_metadata_from[0]",
            "no earlier task",
        ),
        (
            [repeat("i", "(requested_metadata['b']['x'])", null(name="('a')"), requires_metadata_from_child=["b"])],
            "task_list[0].requires_metadata_from_child[0]",
            "no child of this loop",
        ),
        ([null(outputs={"lightcurve": "a.gz", "other": "a.gz"})], "task_list[0].outputs.other", "made"),
    ],
)  # fmt: skip
def test_what_cannot_work(tasks: list[dict[str, Any]], path: str, message: str) -> None:
    found = problems(*tasks)
    assert len(found) == 1
    assert found[0][0] == path
    assert message in found[0][1]


def test_opposite_branches_may_make_the_same() -> None:
    found = planned(makes("x.gz"), SEARCH, either(PASSED, [makes("a.gz")], [makes("a.gz")], **WAITS), reads("a.gz"))
    assert found.product_count == (2, 2)
    assert found.external == ()


def test_the_same_branch_may_not_make_a_product_twice() -> None:
    assert problems(makes("x.gz"), SEARCH, either(PASSED, [makes("a.gz"), makes("a.gz")], [], **WAITS))


def test_many_problems_are_reported_at_once_but_not_thousands() -> None:
    tasks = [makes("a.gz") for _ in range(200)]
    assert len(problems(*tasks)) == 50
    assert len(problems(*tasks[:4], null(), loop("x", [1], null(note="(metadata['y'])")))) == 4


def test_too_many_tasks() -> None:
    with pytest.raises(ChainError, match="more than 100 tasks"):
        planned(loop("x", "(range(200))", null()), max_tasks=100)


def test_the_memory_of_a_plan_depends_on_its_descriptors_not_on_its_tasks() -> None:
    """A tenth of the size that the plan must manage in 400 MB."""
    fields = "_".join(f"{{{name}_index}}" for name in "abcde")
    name = f"'x_{fields}.gz'.format(**metadata)"
    task: list[dict[str, Any]] = [makes(name, specs={"planet_radius": "(metadata['a'])"}), reads(name)]
    for parameter, number in zip("abcde", (10, 10, 8, 4, 2), strict=True):
        task = [loop(parameter, [1, 2, number], *task, key="linear_range")]
    big = chain(*task)
    tracemalloc.start()
    try:
        found = plan(big, REGISTRY, "1", job_name="j", working_directory="w")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.leaves == (12_800, 12_800)
    assert peak < 10_000_000
