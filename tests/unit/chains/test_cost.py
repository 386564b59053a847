"""What an expression and a file may cost: CPU time, measured as such, and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.expressions import MAX_CPU, cpu_of_evaluation

LOOP = " for x in range(3000)] and 1)"
COSTLY = [
    "([('{x}'*1600 + str(i)).format(x='') for i in range(200)])",
    "([('{x[a][b]:>3d}'*300 + str(i)).format(x={'a': {'b': 1}}) for i in range(200)])",
    "([('%(a)s'*900 + str(i)) % {'a': ''} for i in range(200)])",
    "([('%%'*2400 + str(i)) % () for i in range(200)])",
    "([y in s for s in ['a'*1900] for y in ['a'*500 + 'b' + 'a'*499]" + LOOP,
    "([y in s for s in ['a'*19000] for y in ['a'*90 + 'b']" + LOOP,
    "([y not in s for s in ['a'*19000] for y in ['a'*5000 + 'b' + 'a'*4999]" + LOOP,
    "([{'a': 1, **d} for d in [{k*(2**61-1): 0 for k in range(300)}]" + LOOP,
    "(['{:.1000e}'.format(1e-300)" + LOOP,
    "(['%.1000g' % 5e-324" + LOOP,
    "([str([1.7e-300]*4000)" + LOOP,
    "([str(2**4095-1)" + LOOP,
    "([gcd(2**4095-1, 2**4094-5)" + LOOP,
    "([comb(2**60, 130)" + LOOP,
    "([factorial(500)" + LOOP,
    "([sorted([[0]*90+[i] for i in range(100)])" + LOOP,
    "([fsum([1e300, 1e-300, 1e200, 1e-200, 1e100, 1e-100]*1000)" + LOOP,
    "([int('9'*1300)" + LOOP,
    "([random.gammavariate(1e-6, 1)" + LOOP,
    "([random.choices([0]*100, [1]*100, k=9000)" + LOOP,
    "([random.sample([1, 2], counts=[10**9, 10**9], k=9000)" + LOOP,
    "([random.randint(0, 2**4000)" + LOOP,
    "(map(str, map(str, map(str, range(2000)))) and 1)",
    f"(metadata['{'abcdefgh' * 7}xxxx'])",
    "({" + ",".join(f"'{i}':1" for i in range(1000)) + "}['x'])",
    *(
        "(" + opener * (9000 // len(opener))
        for opener in ("{0:", "f(a=", "{", "a[b ", "[x for x in ", "{**", "f'{", "*")
    ),
]


@pytest.mark.parametrize("expression", COSTLY, ids=range(len(COSTLY)))
def test_no_evaluation_takes_long(expression: str) -> None:
    assert min(cpu_of_evaluation(expression) for _ in range(2)) < MAX_CPU


def test_drawing_many_elements_is_allowed_once() -> None:
    assert cpu_of_evaluation("(len(random.choices([1, 2], k=10000)))") < MAX_CPU


def _tasks(*, number: int, **keys: Any) -> str:
    return json.dumps({"task_list": [{"task": "null", **keys}] * number})


def _values(values: list[str]) -> str:
    asking = '{"task":"null","requires_metadata_from":["a"],"k":[' + ",".join(values) + "]}"
    return _list(['{"task":"null","name":"a"}', asking])


def _list(tasks: list[str]) -> str:
    return '{"task_list":[' + ",".join(tasks) + "]}"


FILES: dict[str, Callable[[], str]] = {
    "tasks of one list": lambda: _tasks(number=60_000),
    "empty tasks": lambda: _list(["{}"] * 300_000),
    "misspelt names": lambda: json.dumps(
        {
            "task_list": [
                {"task": "null", "name": f"name{i}", "requires_metadata_from": [f"nmae{i}"]} for i in range(15_000)
            ]
        }
    ),
    "misspelt names of children": lambda: json.dumps(
        {
            "task_list": [
                {
                    "task": "execution_do_while_loop",
                    "iteration_name": "i",
                    "repeat_criterion": False,
                    "requires_metadata_from_child": [f"x{i}" for i in range(5000)],
                    "task_list": [{"task": "null", "name": f"y{i}"} for i in range(20_000)],
                }
            ]
        }
    ),
    "unknown types": lambda: _list([f'{{"task":"nul{i}"}}' for i in range(30_000)]),
    "keys given twice": lambda: _list(
        ['{"task":"null",' + ",".join(f'"k{i}":1,"k{i}":2' for i in range(60_000)) + "}"]
    ),
    "short expressions": lambda: _values([f'"({i})"' for i in range(100_000)]),
    "long expressions": lambda: _values([f'"({"1," * 4900}{i})"' for i in range(100)]),
    "unknown functions": lambda: _values([f'"(sqtr({i}))"' for i in range(50_000)]),
    "unknown metadata": lambda: _values([f"\"(requested_metadata['{i}'])\"" for i in range(30_000)]),
    "metadata": lambda: _values([f"\"(metadata['{i}'])\"" for i in range(40_000)]),
    "no numbers": lambda: _values(["NaN"] * 300_000),
    "empty lists": lambda: _values(["[]"] * 600_000),
    "nested lists": lambda: _values(["[" * 90 + "]" * 90] * 10_000),
    "nested objects": lambda: _values(['{"":' * 90 + "0" + "}" * 90] * 4_000),
    "brackets in strings": lambda: _values(['"' + "[" * 1000 + '"'] * 2_000),
}
PROGRAM = """
import sys, time
from pathlib import Path
from eas.chains.grammar import load_chain
from eas.errors import EASError
def load(path):
    try:
        load_chain(Path(path))
    except EASError as error:
        return str(error)
    return ""
def peak():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
load("warm.json")
memory, cpu = peak(), time.process_time()
said = load("case.json")
print(time.process_time() - cpu, peak() - memory, said[:1000])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", FILES)
def test_validation_is_linear_in_time_and_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "warm.json").write_text(_tasks(number=1, a="(1)"))
    size = (tmp_path / "case.json").write_text(FILES[name]())
    run = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True)
    cpu, memory, *said = run.stdout.split(maxsplit=2)
    assert float(cpu) < 0.5 + 10e-6 * size
    assert float(memory) < 20e6 + 40 * size
    assert name != "nested lists" or "lists and objects, more than 100,000 and one for every 8 characters" in said[0]
