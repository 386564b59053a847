"""Expressions: the forms in use work, and none reaches beyond its data or takes long."""

from __future__ import annotations

import ast
import contextlib
import math
import string
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eas.chains import evaluator, syntax
from eas.chains.evaluator import Scope
from eas.chains.expressions import check
from eas.chains.syntax import is_expression
from eas.errors import ExpressionError, MissingMetadataError
from tests.fuzz.expressions import evaluate

SCOPE = Scope(
    {"period": 365.25, "size": 0.5, "size_index": 3, "a_index": 1, "b_index": 12, "tool": "psls", "my_loop_index": 2},
    {"transit_detection": {"outcome": "PASS", "sde": 12.5}},
    "seed/0.1",
)
FORMS = [
    ("(constants.Rearth / 4)", 0.08911486 / 4),
    ("(constants.Rearth * 4)", 0.08911486 * 4),
    ("(3 * constants.month)", 84),
    ("(constants.year)", 365.25),
    ("(constants.day)", 1),
    ("(constants.plato_noise)", 0.000315),
    ("(constants.phy_AU / constants.sun_radius)", 149597870700 / 695500e3),
    ("(constants.jupiter_radius / constants.earth_radius)", 71492e3 / 6371e3),
    ("(pow(metadata['period']/365.25, 2/3))", 1.0),
    ("(metadata['size'])", 0.5),
    ("(metadata['size_index'])", 3),
    ("'synthesis_{tool}'.format(**metadata)", "synthesis_psls"),
    ("'ev_{size_index}.gz'.format(**metadata)", "ev_3.gz"),
    ("'ev_{a_index}_{b_index}.gz'.format(**metadata)", "ev_1_12.gz"),
    ("'ev_{a_index:03d}_{size:.2f}.gz'.format(**metadata)", "ev_001_0.50.gz"),
    ("'{}-{}'.format(1, 'b')", "1-b"),
    ("'{0}{1}{0}'.format('a', x=1, *[]) if False else 'aba'", None),
    ("'{0}{1}{0}'.format('a', 'b')", "aba"),
    ("'{x}-{a_index}'.format(x=7, **metadata)", "7-1"),
    ("'{x[k]}{y[0]}'.format(x={'k': 1}, y=[2])", "12"),
    ("'{!r:>5}'.format('a')", "  'a'"),
    ("'{{{a_index}}}'.format(**metadata)", "{1}"),
    ("('%.3f' % pi)", "3.142"),
    ("('%d of %d' % (1, 2))", "1 of 2"),
    ("('%(tool)s_%(a_index)04d' % metadata)", "psls_0001"),
    ("('100%% %s' % 'sure')", "100% sure"),
    ("(f'{metadata[\"size\"]:.1f}_{1}')", "0.5_1"),
    ("(f'{1!r}{2:>{3}}')", "1  2"),
    ("('ev_' + str(metadata['size_index']) + '.gz')", "ev_3.gz"),
    ("(requested_metadata['transit_detection']['outcome'] == 'PASS') and (metadata['my_loop_index'] < 3)", True),
    ("(requested_metadata['transit_detection']['sde'] > 9)", True),
    ("(sqrt(2) + math.sqrt(2))", 2 * math.sqrt(2)),
    ("(sin(pi / 2) + log10(100) + floor(1.5))", 4.0),
    ("(math.pi)", math.pi),
    ("(abs(-2) + min(1, 2) + max([1, 5]) + round(1.5) + int('7') + len('ab') + sum(range(4)))", 25),
    ("(round(1.2345, 2))", 1.23),
    ("(float('1.5'))", 1.5),
    ("(sorted([3, 1, 2], reverse=True))", [3, 2, 1]),
    ("(bool(0))", False),
    ("(range(3))", [0, 1, 2]),
    ("((1, 'a', None, True))", [1, "a", None, True]),
    ("({'a': [1, {'b': 2}]})", {"a": [1, {"b": 2}]}),
    ("([x * y for x in range(2) for y in [1, 2] if x])", [1, 2]),
    ("({str(k): v for k, v in [('a', 1)]})", {"a": 1}),
    ("(sum(x for x in range(4)))", 6),
    ("('abc'[1:])", "bc"),
    ("('a' in 'abc' and 1 not in [2])", True),
    ("('x' if metadata['size'] > 1 else 'y')", "y"),
    ("(2 ** 10 + 7 // 2 + 7 % 4 + (1 << 3) + (6 & 3) + (~0))", 1024 + 3 + 3 + 8 + 2 - 1),
    ("(factorial(5) + comb(5, 2) + perm(5, 2) + lcm(4, 6) + prod([2, 3]))", 120 + 10 + 20 + 12 + 6),
    ("(pow(2, 10, 1000))", 24),
    ("  (1)  ", 1),
    ("'it''s'", "its"),
    ('"text"', "text"),
    ("(1 if True else None)", 1),
    ("({**metadata}['tool'])", "psls"),
    ("('{:%}'.format(0.5))", "50.000000%"),
    ("([k for k in metadata if k == 'tool'])", ["tool"]),
    ("(sorted([1, -2], key=abs, reverse=True))", [-2, 1]),
    ("(max(['b', 'AA'], key=len))", "AA"),
    ("(min([3, -1], key=math.fabs))", -1),
    ("(map(str, range(2)))", ["0", "1"]),
    ("(sum(map(pow, [1, 2], [2, 3])))", 9),
    ("(reversed([1, 2, 3]))", [3, 2, 1]),
    ("([[0, 1][i] for i in range(2) for j in [i] if j == i])", [0, 1]),
    ("([a + b for a, b in [(1, 2), (3, 4)]])", [3, 7]),
    ("(1 < 2 < 3 and not 3 < 2 < 1)", True),
    ("(0 or 'x')", "x"),
    ("(pi)", math.pi),
    ("(len(random.choices([1, 2], weights=[1, 3], k=4)) + len(random.sample(range(9), 3)))", 7),
    ("(random.gammavariate(2, 3) > 0)", True),
]


@pytest.mark.parametrize(("expression", "value"), [form for form in FORMS if form[1] is not None])
def test_forms_in_use(expression: str, value: object) -> None:
    found = evaluate(expression, SCOPE)
    assert found == value
    assert type(found) is type(value)


BRACKETS = "(" * 9000
HOSTILE = [
    # Reaching into objects.
    "(().__class__)",
    "(().__class__.__bases__[0].__subclasses__())",
    "('a'.__class__)",
    "(metadata.__class__)",
    "(metadata['period'].__class__)",
    "(constants.__class__)",
    "(constants.__dict__)",
    "(random.__init__)",
    "(random._os)",
    "(random.Random)",
    "(random.seed(1))",
    "(random.SystemRandom().random())",
    "(math.__loader__)",
    "(pow.__self__)",
    "(requested_metadata.__init__.__globals__)",
    "([].append.__self__)",
    "((x for x in [1]).gi_frame)",
    "'{0.__class__}'.format(1)",
    "'{x.__class__.__mro__}'.format(x=1)",
    "'{metadata.__class__}'.format(metadata=metadata)",
    "'{0[__class__]}'.format(metadata)",
    "'{__class__}'.format(**metadata)",
    "'{x.real}'.format(x=1)",
    "('{0.' + '__class__}').format(1)",
    "'{0!z}'.format(1)",
    "('{a.__class__}'.format_map({'a': 1}))",
    "str.format('{0.__class__}', 1)",
    "(f'{().__class__}')",
    "(f'{metadata.__class__}')",
    "(getattr(metadata, '__class__'))",
    "(type(1))",
    "(vars())",
    "(globals())",
    "(locals()['x'])",
    "(dir())",
    "(object())",
    "(__builtins__)",
    "(__name__)",
    "(__import__('os').system('true'))",
    "(eval('1'))",
    "(exec('1'))",
    "(compile('1', '', 'eval'))",
    "(open('/etc/passwd').read())",
    "(input())",
    "(breakpoint())",
    "(help())",
    # Statements and syntax that is none of an expression's business.
    "(import os)",
    "(1); import os",
    "(1)\nimport os",
    "(lambda: 1)()",
    "((lambda x: x)(1))",
    "(x := 1)",
    "([y := 1, y])",
    "(await 1)",
    "(yield 1)",
    "(yield from [1])",
    "(max(*[1, 2]))",
    "([*range(3)])",
    "(dict(**metadata))",
    "({x for x in range(3)})",
    "([x async for x in [1]])",
    "([0 for metadata['x'] in [1]])",
    "([0 for metadata in [1]])",
    "(metadata.update({'a': 1}))",
    "(metadata.pop('period'))",
    "(metadata.clear())",
    "([].append(1))",
    "([1].sort())",
    "(min)",
    "(constants)",
    "('abc'.encode())",
    "(b'abc')",
    "(...)",
    "(1j)",
    "((-8) ** 0.5)",
    "(1 @ 2)",
    "({1, 2})",
    "({1: 2})",
    # Time and memory.
    "(9**9**9)",
    "(9**9**9**9)",
    "(2**100000)",
    "(pow(2, 10**9))",
    "(pow(3, 2**2000, 2**3000 + 1))",
    "(10**400 * 10**400 * 10**400 * 10**400)",
    "(1 << 10**9)",
    "(1 << 5000)",
    "('a' * 10**10)",
    "(10**10 * 'a')",
    "([0] * 10**9)",
    "((0,) * 10**9)",
    "('a' * 90000 + 'a' * 90000)",
    "(range(10**12))",
    "(list(range(10**12)))",
    "(sum(range(10**12)))",
    "([x for x in range(10**9)])",
    "([0 for a in range(10000) for b in range(10000) for c in range(10000)])",
    "([[0 for a in range(10000)] for b in range(10000)])",
    "([1 for a in range(10000) for b in range(10000) if 0])",
    "(sum(sum(range(10000)) for x in range(10000)))",
    "([sorted(range(10000)) for x in range(10000)])",
    "([[[[0] * 100] * 100] * 100] * 100)",
    "(str([[[[0] * 100] * 100] * 100] * 100))",
    "(['a' * 90000] * 1000)",
    "({k * (2**61 - 1): 0 for k in range(10000)})",
    "(round(1, -10**9))",
    "(factorial(10**7))",
    "(math.factorial(10**7))",
    "(comb(10**9, 10**8))",
    "(perm(10**6))",
    "(prod([10**1000] * 1000))",
    "(int('9' * 10**6))",
    "(int('9' * 90000))",
    "(int('f' * 90000, 16))",
    "(float('1' * 90000))",
    "('{:>1000000000}'.format(1))",
    "('{:.1000000000f}'.format(1))",
    "('{:{w}}'.format(1, w=10**9))",
    "(('{a}' * 20000).format(a='x' * 90000))",
    "(('{a}' * 1600).format(a='x' * 90000))",
    "(('%s' * 2000) % (('x' * 4) * 2000,))",
    "(('%(a)s' * 900) % {'a': 'x' * 90000})",
    "('%1000000000d' % 1)",
    "('%.1000000000f' % 1)",
    "('%*d' % (10**9, 1))",
    "(('%s' * 20000) % (('x' * 4) * 20000,))",
    "(('%(a)s' * 15000) % {'a': 'x' * 90000})",
    "(f'{1:>1000000000}')",
    "(f'{1:{10**9}}')",
    "('a'.ljust(10**9))",
    "('a'.center(10**9))",
    "('1'.zfill(10**9))",
    "(('a' * 1000).replace('a', 'b' * 1000))",
    "(('a' * 90000).replace('', 'bbbb'))",
    "(('a' * 1000).join(['b'] * 1000))",
    "(sum([[0]] * 10000, []))",
    "(1e308 * 10)",
    "([1e308 * 10])",
    "(1e999 - 1e999)",
    "('\\ud800')",
    "('\\x00')",
    "(['\\x1b[31m'])",
    "({'\\x07': 1})",
    "(map(lambda x: x, [1]))",
    "(map('str', [1]))",
    "(map(map, [1]))",
    "(sorted([1], key='abs'))",
    "(map(str, 5))",
    "([map(str, range(10000)) for x in range(100)])",
    "([sorted(range(5000), key=abs) for x in range(100)])",
    "(map(factorial, range(480, 500)) and [map(factorial, range(100, 500)) for x in range(100)])",
    "(random.choices([1], k=10**9))",
    "(random.sample([1, 2], 10**9))",
    "(random.sample([1], counts=[10**9], k=10**6))",
    "(random.choices([1, 2], ['a', 'b']))",
    "(random.gammavariate(1e300, 1))",
    "(random.gammavariate(1e-300, 1))",
    "(['a' * 50000 + 'b' in 'a' * 90000 for x in range(100)])",
    "(('a' * 50000).strip('b' * 40000))",
    "(('a' * 50000).rfind('b' + 'a' * 20000))",
    "(metadata.get('period'))",
    "(inf)",
    "(list(range(3)))",
    "(random.betavariate(nan, 1))",
    "(random.gauss(inf, inf))",
    "(random.choice([]))",
    BRACKETS,
    BRACKETS[:4000] + "1" + ")" * 4000,
    "(" + "-" * 9000 + "1)",
    "(" + "not " * 2000 + "1)",
    "(" + "[" * 2000 + "]" * 2000 + ")",
    "('a'" + "+'a'" * 2000 + ")",
    "(1" + " if 1 else 1" * 700 + ")",
    "(" + "1" * 9000 + ")",
    "(" + "x" * 9000 + ")",
    "(" + " " * 20000 + "1)",
    "(" + "a." * 4000 + "b)",
    # Nonsense.
    "(",
    "'",
    "()(1)",
    "(1)(2)",
    "(1 +)",
    "(\x00)",
    "('\x00' + )",
    "('\ud800' + 1)",
    "(1 2)",
    "(pow(metadata['period'])/365.25, 2/3))",
    "(1 / 0)",
    "(0 ** -1)",
    "('a' + 1)",
    "(1e308 ** 2)",
    "([1][5])",
    "(metadata['perod'])",
    "(metadata.period)",
    "(metadat['period'])",
    "(1['a'])",
    "(requested_metadata['other'])",
    "'{nothing}'.format(**metadata)",
    "'{}{}'.format(1)",
    "'{'.format(1)",
    "('%d' % 'a')",
    "('%y' % 1)",
    "('%s %s' % 1)",
    "(sqrt(-1))",
    "(log(0))",
    "(int('x'))",
    "(min())",
    "(constants.Earth)",
    "('a'.nothing())",
    "((1).conjugate())",
    "(slice(1))",
    "(metadata[1:2])",
    "([1, 2][::0])",
]  # fmt: skip


@pytest.mark.parametrize("expression", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_or_wrong_is_refused_fast(expression: str) -> None:
    best = math.inf
    for _ in range(3):
        started = time.perf_counter()
        with pytest.raises(ExpressionError) as caught:
            evaluate(expression, SCOPE)
        best = min(best, time.perf_counter() - started)
    assert best < 0.1
    assert caught.value.what
    assert caught.value.hint
    assert len(str(caught.value)) < 2000


def test_enough_hostile_payloads() -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 100


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("(metadata['perod'])", "nearest keys: period"),
        ("'{tol}'.format(**metadata)", "nearest keys: tool"),
        ("(metadat['period'])", "did you mean metadata"),
        ("(constants.rearth)", "did you mean Rearth"),
        ("(metadata.period)", "metadata['period']"),
        ("(sqt(2))", "did you mean sqrt"),
        ("(requested_metadata['transit']['outcome'])", "transit_detection"),
        ("(lambda: 1)", "only plain expressions"),
        ("(pow(metadata['period'])/365.25, 2/3))", "one Python expression"),
    ],
)
def test_errors_have_a_hint(expression: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(expression, SCOPE)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_metadata_cannot_be_changed_through_a_result() -> None:
    scope = Scope({"a": 1}, {"t": {"b": 2}})
    whole = evaluate("(metadata)", scope)
    whole["a"] = 5
    evaluate("(requested_metadata['t'])", scope)["b"] = 5
    assert scope.metadata == {"a": 1}
    assert scope.requested == {"t": {"b": 2}}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("(1)", True),
        ("  'a'", True),
        ('"a"', True),
        ("a(1)", False),
        ("", False),
        (1, False),
        (None, False),
        ("[1]", False),
    ],
)
def test_is_expression(value: object, expected: bool) -> None:
    assert is_expression(value) is expected


def test_requested_metadata_that_is_not_there_yet() -> None:
    text = "(requested_metadata['transit_detection']['outcome'] == 'PASS')"
    assert check(text).uses_requested
    assert not check("(metadata['requested_metadata'])").uses_requested
    with pytest.raises(MissingMetadataError):
        evaluate(text, Scope({}))


def test_what_a_check_tells() -> None:
    parsed = check("'{a}_{b}'.format(**metadata) + str(metadata['c'] + random.random())")
    assert parsed.metadata_keys == ("a", "b", "c")
    assert parsed.uses_random
    assert check("(requested_metadata['x']['y'])").requested_names == {"x"}
    assert check("(len(metadata))").metadata_keys is None


def test_random_numbers_hang_on_seed_and_place_only() -> None:
    text = "(random.random() * 200 + random.gauss(0, 1) + random.choice([1, 2, 3]) + random.randint(1, 6))"
    first = evaluate(text, Scope({}, None, "job/0.1"), "specs.a")
    evaluate("(random.random())", Scope({}, None, "job/0.1"), "specs.b")
    assert evaluate(text, Scope({}, None, "job/0.1"), "specs.a") == first
    assert evaluate(text, Scope({}, None, "job/0.2"), "specs.a") != first
    assert evaluate(text, Scope({}, None, "job/0.1"), "specs.b") != first
    assert evaluate("(random.random())", Scope({}, None, "job/0.1"), "x") == 0.8595068692594272


def test_threads_do_not_mix_scopes() -> None:
    def many(number: int) -> bool:
        scope = Scope({"a": number})
        return all(evaluate("(sum([metadata['a'] for x in range(5)]))", scope) == 5 * number for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(many, range(8)))


def test_an_error_leaves_nothing_behind() -> None:
    with pytest.raises(ExpressionError):
        evaluate("([1 / x for x in [1, 0]])", SCOPE)
    with pytest.raises(ExpressionError, match="not known"):
        evaluate("(x)", SCOPE)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]), st.integers(-(10**12), 10**12) | st.text("abc_.{}'\\", max_size=20)
    )
)
def test_format_is_that_of_python(metadata: dict[str, object]) -> None:
    text = "_".join(f"{{{key}}}" for key in metadata)
    assert evaluate(f"'{text}'.format(**metadata)", Scope(metadata)) == text.format(**metadata)


@given(st.text(string.printable, max_size=80))
def test_any_text_gives_data_or_an_expression_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        evaluate("(" + text + ")", SCOPE)


def test_each_node_that_the_static_check_accepts_can_be_evaluated():
    parts = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)  # of nodes, never evaluated
    accepted = {each for each in syntax._ALLOWED_NODES if not issubclass(each, parts)} - {ast.Expression, ast.keyword}
    assert accepted <= set(evaluator._HANDLERS)


@pytest.mark.parametrize("text", ["({1, 2})", "(1 in {1, 2})", "(len({1, 2}))"])
def test_a_set_is_refused_before_anything_is_evaluated(text):
    with pytest.raises(ExpressionError, match="a set is not allowed"):
        check(text)
