"""Safe evaluation of the expressions in a task chain.

An expression is untrusted input. It is parsed once, checked against allowlists (``syntax``), and evaluated
(``evaluator``) with a budget of steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from eas.chains import syntax
from eas.chains.evaluator import Evaluator, MetadataNotAvailableError, Scope
from eas.chains.formats import render
from eas.chains.limits import NotAllowedError
from eas.chains.syntax import Parsed
from eas.chains.text_limits import text_problem
from eas.errors import ExpressionError, MissingMetadataError


def evaluate_checked(expression: str, parsed: Parsed, scope: Scope, where: str) -> Any:
    """Return the value of ``expression``: a number, string, boolean, None, list or dictionary.

    ``parsed`` is the result of ``check``; ``where`` is the expression's key path in its descriptor. Random numbers
    are seeded by ``where`` and ``scope.seed``, so they do not depend on the order of evaluation.

    Raises MissingMetadataError if the expression reads ``requested_metadata`` that are not available yet, and
    ExpressionError for all other faults.
    """
    try:
        if parsed.template is not None:
            return plain(render(parsed.template, (), scope.metadata))
        return plain(Evaluator(scope, where).value(syntax.syntax_tree(expression)))
    except NotAllowedError as error:
        raise ExpressionError(expression, error.what, hint=error.hint) from None
    except MetadataNotAvailableError:
        raise MissingMetadataError(
            expression,
            "reads requested_metadata, which is not available here",
            hint="name the task whose metadata it needs in requires_metadata_from",
        ) from None
    except RecursionError:
        raise ExpressionError(expression, "is nested too deeply", hint="use fewer brackets") from None
    except Exception as error:
        what = str(error) or type(error).__name__
        raise ExpressionError(
            expression, f"cannot be evaluated: {what[:200]} ({type(error).__name__})", hint=_hint(error)
        ) from None


def check(expression: str) -> Parsed:
    """Parse ``expression`` and check its syntax tree without evaluating it.

    Raises ExpressionError if it is not valid or uses something that is not allowed.
    """
    parsed = parsed_or_refused(expression)
    if isinstance(parsed, Parsed):
        return parsed
    raise ExpressionError(expression, parsed.what, hint=parsed.hint)


# Files repeat their expressions: without the cache, reading one of 2 MB takes 1.9 to 3.6 times as long.
@lru_cache(maxsize=1024)
def parsed_or_refused(expression: str) -> Parsed | NotAllowedError:
    """Return the result of ``check``, or its error instead of raising it; the hint is computed when it is read."""
    try:
        return syntax.parse(expression)
    except NotAllowedError as error:
        return error.without_traceback()


def plain(value: Any) -> Any:
    """Return ``value`` as JSON data (tuples and ranges become lists), or raise NotAllowedError."""
    kind = type(value)
    if kind is str:
        if fault := text_problem(value):
            raise NotAllowedError(f"gives a string that {fault[0]}", hint=fault[1])
        return value
    if kind is float and not math.isfinite(value):
        raise NotAllowedError(f"gives {value}, which is no JSON number", hint="give a finite number")
    if kind in (int, float, bool, type(None)):
        return value
    if isinstance(value, list | tuple | range):
        return [plain(element) for element in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise NotAllowedError("makes a dictionary with keys that are not strings", hint="use str(...) for the keys")
        return {plain(key): plain(element) for key, element in value.items()}
    raise NotAllowedError(f"gives a {kind.__name__}, which JSON cannot hold", hint="give numbers, strings or lists")


def _hint(error: Exception) -> str:
    if isinstance(error, ZeroDivisionError):
        return "divide by something that is not zero"
    if isinstance(error, OverflowError):
        return "use smaller numbers"
    return "check the values that it is given, and their types"
