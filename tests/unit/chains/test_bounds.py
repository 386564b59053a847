"""What a chain names fits the task database's columns on every engine, or is refused with place and hint."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from eas import column_sizes
from eas.errors import ChainError, Problem, RequestError
from eas.operations.job_options import SubmitOptions
from eas.operations.plan import names_of, plan_chain
from eas.taskdb import tables

from .build import REGISTRY, chain, either, expander, loop, makes, null, planned, reads, repeat

LONG = "x" * 256
NAMED = {"requires_metadata_from": ["a"]}


def only_problem(*tasks: dict[str, Any], **root: Any) -> Problem:
    with pytest.raises(ChainError) as caught:
        plan_chain(chain(*tasks, **root), REGISTRY)
    [problem] = caught.value.problems
    assert problem.hint
    return problem


@pytest.mark.parametrize(
    ("table", "column", "size"),
    [
        ("jobs", "name", column_sizes.NAME),
        ("jobs", "working_directory", column_sizes.PRODUCT),
        ("jobs", "seed", column_sizes.SEED),
        ("tasks", "name", column_sizes.NAME),
        ("tasks", "job_name", column_sizes.NAME),
        ("tasks", "working_directory", column_sizes.PRODUCT),
        ("tasks", "address", column_sizes.ADDRESS),
        ("products", "name", column_sizes.PRODUCT),
        ("products", "working_directory", column_sizes.PRODUCT),
        ("task_products", "semantic", column_sizes.SEMANTIC),
        ("product_versions", "semantic", column_sizes.SEMANTIC),
        ("attempt_inputs", "semantic", column_sizes.SEMANTIC),
    ],
)
def test_the_checked_sizes_are_those_of_the_columns(table: str, column: str, size: int) -> None:
    assert tables.metadata.tables[table].c[column].type.length == size


def test_names_of_task_types_fit_their_columns() -> None:
    length = tables.tasks.c.task_type.type.length
    assert all(len(name) <= length for name in REGISTRY.task_types)
    assert isinstance(tables.tasks.c.requires.type, sa.Text)


@pytest.mark.parametrize(
    ("task", "path"),
    [
        (null(job_name=LONG), "task_list[0].job_name"),
        (null(name=LONG), "task_list[0].name"),
        (null(name="('x' * 256)"), "task_list[0].name"),
        (null(job_name="('x' * 256)"), "task_list[0].job_name"),
        (null(working_directory="d/" * 250 + "d"), "task_list[0].working_directory"),
        (null(working_directory="('d/' * 250 + 'd')"), "task_list[0].working_directory"),
        (null(outputs={"s" * 81: "a.gz"}), f"task_list[0].outputs.{'s' * 81}"),
        (null(outputs={"('s' * 81)": "a.gz"}), f"task_list[0].outputs.{'s' * 81}"),
        (null(outputs={" ": "a.gz"}), "task_list[0].outputs[' ']"),
        (null(outputs={"a": "a.gz", "a ": "b.gz"}), "task_list[0].outputs"),
        (null(outputs={"('a')": "a.gz", "('a ')": "b.gz"}), "task_list[0].outputs"),
        (null(name="a\tb"), "task_list[0].name"),
        (null(name="('a\\nb')"), "task_list[0].name"),
        (null(note="a\0b"), "task_list[0].note"),
        (null(note="\x1b[31m"), "task_list[0].note"),
        (null(note="('\\x1b[31m')"), "task_list[0].note"),
        (null(note="('\\ud800')"), "task_list[0].note"),
        (null(note="(1e308 * 10)"), "task_list[0].note"),
        (null(note={"a\x07": 1}), "task_list[0].note"),
        (loop("x" * 201, [1], null()), "task_list[0].parameter"),
    ],
)
def test_what_no_column_holds_is_refused(task: dict[str, Any], path: str) -> None:
    assert only_problem(task).path == path


def test_a_list_of_required_names_that_no_column_holds_is_refused() -> None:
    names = [f"{'n' * 240}{index:03d}" for index in range(280)]
    tasks = [null(name=name) for name in names]
    assert only_problem(*tasks, null(requires_metadata_from=names)).path == "task_list[280].requires_metadata_from"
    repeated = [f"('n' * 240 + '{index:03d}')" for index in range(280)]
    problem = only_problem(*tasks, null(requires_metadata_from=repeated))
    assert problem.path == "task_list[280].requires_metadata_from"


def test_names_of_the_whole_chain_are_bounded() -> None:
    assert only_problem(null(), job_name=LONG).path == "job_name"
    assert only_problem(null(), job_name="('x' * 256)").path == "job_name"
    assert only_problem(null(), working_directory="('../x')").path == "working_directory"


@pytest.mark.parametrize("option", [{"seed": "1" * 81}, {"job_name": LONG}, {"job_name": " "}, {"seed": ""}])
def test_options_are_bounded(option: dict[str, str]) -> None:
    with pytest.raises(RequestError) as caught:
        plan_chain(chain(null()), REGISTRY, SubmitOptions(**option))
    assert "--" in caught.value.what
    assert caught.value.hint


def test_an_expression_that_waits_in_the_place_of_a_name_fits_its_column() -> None:
    waits = f"(requested_metadata['a']['x'] + '{LONG}')"
    assert only_problem(null(name="a"), null(name=waits, **NAMED)).path == "task_list[1].name"


def test_addresses_are_bounded() -> None:
    deep: dict[str, Any] = null()
    for number in range(45):
        deep = loop(f"p{number}", [1], *[null()] * 100, deep)
    assert "nested too deeply" in only_problem(deep).message


def test_blanks_around_literals_are_no_part_of_them() -> None:
    tasks = [
        makes(" a.gz ", name=" maker ", job_name=" j ", working_directory=" d "),
        {"task": " verify ", "inputs": {" lightcurve ": " a.gz"}, "working_directory": "d",
            "requires_metadata_from": ["maker "]},
    ]  # fmt: skip
    expand = expander(*tasks)
    maker, reader = expand.children(expand.root("job", "wd"))
    assert (maker.name, maker.job_name, maker.working_directory) == ("maker", "j", "d")
    assert maker.outputs == {"lightcurve": "a.gz"}
    assert (reader.task_type, reader.inputs, reader.requires) == ("verify", {"lightcurve": "a.gz"}, ("maker",))
    assert planned(*tasks).external == ()


def test_blanks_around_evaluated_names_are_no_part_of_them() -> None:
    task = {"task": "(' null ')", "name": "('n ')", "outputs": {"('a ')": "(' b.gz ')"}, "job_name": "('j ')"}
    expand = expander(task)
    [spec] = expand.children(expand.root("job", "wd"))
    assert (spec.task_type, spec.name, spec.outputs, spec.job_name) == ("null", "n", {"a": "b.gz"}, "j")


def test_numbers_in_quotes_are_numbers_as_loop_values_with_a_warning() -> None:
    task = loop("x", ["2", "2.5", " 3 ", "1e2", "007", "tls", "1e999", "NaN", True], null())
    found = chain(task)
    [warning] = found.warnings
    assert warning.path == "task_list[0].values"
    assert "'2'" in warning.message
    assert warning.hint
    expand = expander(task)
    [spec] = expand.children(expand.root("job", "wd"))
    values = [each.metadata["x"] for each in expand.children(spec)]
    assert values == [2, 2.5, 3, 100.0, "007", "tls", "1e999", "NaN", True]
    assert [type(each) for each in values[:4]] == [int, float, int, float]
    assert planned(loop("x", ["1", "3", "3"], null(), key="linear_range")).tasks["null"] == (3, 3)
    assert [each.path for each in planned(loop("x", "(['1', '2'])", null())).warnings] == ["task_list[0].values"]
    assert chain(loop("x", [1, "a"], null())).warnings == ()


def test_names_of_the_whole_chain_may_be_expressions() -> None:
    found = chain(null(), job_name="('%.1f' % pi)", working_directory="'d{}'.format(1 + 1)")
    assert names_of(found, REGISTRY, SubmitOptions()) == ("3.1", "d2")
    drawn = chain(null(), job_name="(str(random.random()))")
    assert names_of(drawn, REGISTRY, SubmitOptions(seed="1")) == names_of(drawn, REGISTRY, SubmitOptions(seed="1"))
    assert names_of(drawn, REGISTRY, SubmitOptions(seed="1")) != names_of(drawn, REGISTRY, SubmitOptions(seed="2"))


@pytest.mark.parametrize("word", ["größe", "μ", "大きさ", "x1", "Größe_2"])
def test_a_parameter_may_be_any_word(word: str) -> None:
    task = makes(f"'f_{{{word}_index}}_{{{word}}}.gz'.format(**metadata)", note=f"(metadata['{word}'])")
    expand = expander(loop(word, [5], task))
    [spec] = expand.children(expand.root("job", "wd"))
    [body] = expand.children(spec)
    [leaf] = expand.children(body)
    assert leaf.outputs == {"lightcurve": "f_0_5.gz"}
    assert leaf.settings == {"note": 5}
    assert planned(repeat(word, f"(metadata['{word}_index'] < 3)", null())).tasks["null"] == (3, 3)


def test_of_two_tasks_with_one_name_the_last_before_the_asker_counts() -> None:
    waits = {"requires_metadata_from": ["a"]}
    tasks = [makes("x.gz", name="a"), reads("y.gz", name="a"), null(**waits), makes("y.gz"), null(name="a", **waits)]
    assert planned(*tasks).longest_path == 3
    child = repeat("i", "(requested_metadata['a']['x'])", null(name="a"), null(name="a"))
    planned({**child, "requires_metadata_from_child": ["a"]})


@pytest.mark.parametrize(
    ("note", "message"),
    [
        ("(1 / 0)", "division"),
        ("(metadata['absent'])", "no key 'absent'"),
        ("(1 / (metadata['known'] - 1))", "division"),
        ("(1 / metadata['n'])", ""),
        ("(1 / (metadata['n_index'] - metadata['inner_index'] + metadata['known']))", ""),
        ("(metadata['i_index'])", ""),
        ("(random.random() / 0)", ""),
    ],
)
def test_below_a_loop_over_data_only_what_depends_on_data_is_left_to_the_run(note: str, message: str) -> None:
    values = "(range(requested_metadata['a']['count']))"
    inner = loop("inner", [1, 2], repeat("i", "(metadata['i_index'] < 2)", either(True, [null(note=note)], [])))
    sweep = loop("known", [1], null(name="a"), loop("n", values, inner, **NAMED))
    if not message:
        planned(sweep)
        return
    with pytest.raises(ChainError) as caught:
        planned(sweep)
    [problem] = caught.value.problems
    assert problem.path.endswith(".note")
    assert message in problem.message


def test_proposals_name_what_is_right() -> None:
    problem = only_problem({**makes("a.gz"), "outputs": {"lightcurv": "a.gz"}})
    assert "did you mean 'lightcurve' instead of 'lightcurv'" in problem.hint
    for wrong in ("transit_search", "transit_search_platosim", "synthesis_plato"):
        hint = only_problem({"task": wrong}).hint
        assert "dst" not in hint
        assert "exotrans" not in hint
        assert "platosim" not in hint
    assert "transit_search_tls" in only_problem({"task": "transit_search"}).hint
    assert "execution_for_loop" in only_problem({"task": "execution_for"}).hint
