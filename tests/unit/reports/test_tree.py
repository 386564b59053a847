import json
from types import SimpleNamespace

import numpy as np

from eas.states import TaskState
from eas.taskdb.queries import packed_tree
from reports import tree

STATES = [state.value for state in TaskState]


def task(task_id, parent, task_type, state, metadata=None, name=None):
    return SimpleNamespace(
        id=task_id, parent=parent, task_type=task_type, state=state, metadata=json.dumps(metadata or {}), name=name,
        reason=None,
    )  # fmt: skip


def row(each):
    control = (each.task_type or "").startswith("execution_")
    return each.id, 16 * each.parent + list(TaskState).index(TaskState(each.state)) + 8 * control


def links_of(tasks):
    return tree.read_links(packed_tree.pack(sorted(map(row, part))) for part in (tasks[:3], tasks[3:]) if part)


def sweep(values, state="done"):
    tasks = [task(1, 0, "execution_chain", "running"), task(2, 1, "execution_for_loop", "running", name="sweep")]
    for index in range(values):
        metadata = {"size": index / 2, "size_index": index}
        chain = 3 + 3 * index
        tasks += [
            task(chain, 2, "execution_chain", "running", metadata),
            task(chain + 1, chain, "verify", state, metadata),
            task(chain + 2, chain, "null", "waiting", metadata),
        ]
    return tasks


def build(tasks, depth=9, **options):
    by_id = {each.id: each for each in tasks}
    links = links_of(tasks)
    roots = tree.build(links, depth, lambda ids: [by_id[each] for each in ids], **options)
    return tree.collapse(tree.job_roots(roots, {1: (7, "job", "running")}))


def test_equal_siblings_are_drawn_once():
    assert list(tree.tree_lines(build(sweep(3)))) == [
        "job 7 job (running): 3 waiting, 3 done",
        "└── execution_for_loop 'sweep': 3 waiting, 3 done",
        "    └── execution_chain x 3 [size=0 ... size=1]: 3 waiting, 3 done",
        "        ├── verify: 3 done",
        "        └── null: 3 waiting",
    ]


def test_unequal_siblings_stay_apart():
    tasks = sweep(3)
    tasks[3].state = "failed"
    assert [line.strip() for line in tree.tree_lines(build(tasks, 2))][2:] == [
        "├── execution_chain [size=0]: 1 waiting, 1 failed",
        "└── execution_chain x 2 [size=0.5 ... size=1]: 2 waiting, 2 done",
    ]


def test_the_depth_limit_hides_children_but_counts_them():
    (root,) = build(sweep(4), 1)
    assert root.counts == {"done": 4, "waiting": 4}
    assert root.children[0].hidden == 4
    assert root.children[0].children == []
    (alone,) = build(sweep(4), 0)
    assert alone.to_json()["counts"]["done"] == 4
    assert alone.to_json()["hidden_children"] == 1


def test_running_only_leaves_out_what_is_quiet():
    tasks = sweep(3)
    tasks[3].state = "running"
    (root,) = build(tasks, running_only=True)
    assert [node.title for node in root.children[0].children] == ["execution_chain [size=0]"]
    assert build(sweep(2), running_only=True) == []


def test_a_filter_counts_only_what_it_lets_through():
    tasks = sweep(3)
    only = np.array([each.task_type == "null" for each in tasks])
    (root,) = build(tasks, only=only)
    assert root.counts == {"waiting": 3}
    assert [node.label for node in root.children[0].children[0].children] == ["null"]


def test_no_jobs_no_tree():
    assert build([]) == []
    assert tree.fitting_depth(links_of([]), 5) == 1


def test_a_tree_too_large_is_cut_where_it_fits(monkeypatch):
    monkeypatch.setattr(tree, "MAX_NODES", 10)
    links = links_of(sweep(6))
    assert tree.fitting_depth(links, 9) == 2
    assert tree.fitting_depth(links, 1) == 1


def test_json_is_plain_data():
    text = json.dumps([root.to_json() for root in build(sweep(2))])
    assert json.loads(text)[0]["children"][0]["children"][0]["number"] == 2
