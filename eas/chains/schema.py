"""The JSON Schema of task chains, made from the registry: editors complete and check chain files with it.

The plain schema accepts every file that the grammar accepts, the strict one every file that also has no
warnings. `WEAKER` lists where both are weaker than the grammar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from eas.chains.parser import FILE_KEYS, FILES, LANGUAGE_KEYS
from eas.chains.ranges import MAX_VALUES, RANGES
from eas.chains.tree import CONTROL_KEYS
from eas.model import FOR_LOOP
from eas.registry import Registry, TaskType
from eas.tasks.settings import Choice, Group, Number, Setting

Schema: TypeAlias = dict[str, Any]
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
WEAKER: Final = (
    "Weaker than `eas validate`. Not checked: contents of expressions; relations between tasks (requested names,"
    " makers of files, cycles); length, characters and repetition of names; a loop's parameter name and numbers in"
    " quotes; files and settings of tasks whose type is an expression."
)
_EXPRESSION: Final = r"^\s*[('\"]"
_LARGEST: Final = 1e300
_NAMES: Final = {"type": "array", "items": {"type": "string", "pattern": r"\S"}}


def chain_schema(registry: Registry, *, strict: bool = False) -> Schema:
    """Return the schema of the chains that ``registry`` allows; with ``strict``, of those without warnings."""
    types = [each for each in registry.task_types.values() if not each.reserved]
    names = sorted(each.name for each in types)
    task = {
        "type": "object",
        "required": ["task"],
        "properties": {
            "task": {"anyOf": [{"enum": names}, {"type": "string", "pattern": _words(names)}, _ref("expression")]},
            **dict.fromkeys(("name", "job_name"), _ref("label")),
            "working_directory": _ref("file"),
            **dict.fromkeys(FILES, _ref("files")),
            "requires_metadata_from": _NAMES,
        },
        "allOf": [
            {"if": _type_is(_EXPRESSION), "then": {"properties": _properties_of_lists()}},
            *(_rule(each, strict=strict) for each in types),
        ],
    }
    whole: Schema = {
        "$schema": DIALECT,
        "title": "EAS task chain",
        "$comment": WEAKER,
        "type": "object",
        "required": ["task_list"],
        "properties": {"job_name": _ref("label"), "working_directory": _ref("file"), "task_list": _ref("tasks")},
        "$defs": _definitions() | {"task": task},
    }
    return whole | (_only(FILE_KEYS) if strict else {})


def _definitions() -> Schema:
    path = {"type": "string", "pattern": r"\S", "not": {"pattern": r"^\s*/|\\|(^\s*|/)\.\.(/|\s*$)"}}
    return {
        "expression": {"type": "string", "pattern": _EXPRESSION},
        "label": {"type": "string", "pattern": r"\S"},
        "file": {"anyOf": [_ref("expression"), path]},
        "files": {"type": "object", "propertyNames": {"pattern": r"\S"}, "additionalProperties": _ref("file")},
        "tasks": {"type": "array", "items": _ref("task")},
    }


def _rule(task_type: TaskType, *, strict: bool) -> Schema:
    """Return the schema rule for tasks of one type."""
    name = task_type.name
    then = _control(name) if task_type.control else _files(task_type)
    declared = task_type.declared_settings()
    if task_type.control:
        known: Sequence[str] | None = (*LANGUAGE_KEYS, *CONTROL_KEYS[name].settings)
    else:
        known = None if declared is None else (*LANGUAGE_KEYS, *(each.name for each in declared))
        then.setdefault("properties", {}).update({each.name: _setting(each, strict=strict) for each in declared or ()})
    if strict and known is not None:
        then |= _only(known) | _needed(declared or ())
    if task_type.meaning:
        then["description"] = _description(task_type)
    return {"if": _type_is(_words([name])), "then": then}


def _description(task_type: TaskType) -> str:
    """Return the description that editors show for a task: purpose and metadata of its type."""
    about = f"{task_type.name}: {task_type.meaning}."
    keys = [f"{each.name} [{each.unit}]" if each.unit else each.name for each in task_type.declared_metadata() or ()]
    if task_type.metadata_from:
        keys.append(f"the metadata of {' and '.join(task_type.metadata_from)}")
    return f"{about} Returns {', '.join(keys)}." if keys else about


def _control(name: str) -> Schema:
    keys, properties = CONTROL_KEYS[name], _control_properties()
    rule: Schema = {"required": list(keys.required)}
    if name == FOR_LOOP:
        rule["oneOf"] = [{"required": [each]} for each in RANGES]
    return rule | {"properties": {each: properties[each] for each in (*keys.required, *keys.optional)}}


def _control_properties() -> Schema:
    return _properties_of_lists() | {
        **dict.fromkeys(("parameter", "iteration_name"), _ref("label")),
        **_ranges(),
        "criterion": {"anyOf": [_ref("expression"), {"type": ["boolean", "number"]}]},
        "repeat_criterion": {"anyOf": [_ref("expression"), {"enum": [False, 0]}]},
    }


def _properties_of_lists() -> Schema:
    lists = dict.fromkeys(("task_list", "else_task_list"), _ref("tasks"))
    return {**lists, "requires_metadata_from_child": _NAMES}


def _ranges() -> Schema:
    count = {"type": "integer", "minimum": 1, "maximum": MAX_VALUES}

    def span(bound: Schema) -> Schema:
        items = [{"anyOf": [{"type": "string"}, each]} for each in (bound, bound, count)]
        return {"anyOf": [_ref("expression"), {"type": "array", "prefixItems": items, "minItems": 3, "maxItems": 3}]}

    value = {"type": ["number", "string", "boolean", "null"]}
    return {
        "values": {"anyOf": [_ref("expression"), {"type": "array", "items": value}]},
        "linear_range": span({"type": "number"}),
        "log_range": span({"type": "number", "exclusiveMinimum": 0}),
    }


def _files(task_type: TaskType) -> Schema:
    rule: Schema = {}
    for what in FILES:
        needed, known = getattr(task_type, what), task_type.known_files(what)
        files: Schema = {}
        if needed:
            rule.setdefault("required", []).append(what)
            files["allOf"] = [_has_key(f"{_words([each])}|{_EXPRESSION}") for each in needed]
        if known is not None:
            meanings = task_type.file_meanings(what)
            about = {each: {"description": meanings[each]} if meanings[each] else {} for each in known}
            files |= {"properties": about, **_only(known, blanks=True)}
        if files:
            rule.setdefault("properties", {})[what] = files
    return rule


def _setting(setting: Setting, *, strict: bool) -> Schema:
    """Return the schema of a setting; any value is allowed unless ``strict``, as a bad one is only reported."""
    if isinstance(setting, Group):
        members = {each.name: _setting(each, strict=strict) for each in setting.settings}
        content: Schema = {"properties": members} | ({"description": setting.meaning} if setting.meaning else {})
        if not strict:
            return content
        content |= {"type": "object", **_only(members), **_needed(setting.settings)}
        return {"anyOf": [content, {"type": "null"}, _ref("expression")]}
    unit = f"[{setting.unit}]" if isinstance(setting, Number) and setting.unit else ""
    about: Schema = {"description": " ".join(filter(None, (setting.meaning, unit)))}
    about = {key: text for key, text in about.items() if text}
    if (default := getattr(setting, "default", None)) is not None:
        about["default"] = default
    if not strict:
        return about
    return {**about, "anyOf": [*_values(setting), {"type": "null"}, _ref("expression")]}


def _values(setting: Setting) -> list[Schema]:
    if isinstance(setting, Choice):
        return [{"enum": list(setting.choices)}]
    if not isinstance(setting, Number):
        return [{"type": "string", "pattern": r"\S"}]
    low, high = max(setting.low, -_LARGEST), min(setting.high, _LARGEST)
    number: Schema = {
        "type": "integer" if setting.whole else "number",
        "exclusiveMinimum" if setting.above or low == -_LARGEST else "minimum": low,
        "exclusiveMaximum" if setting.below or high == _LARGEST else "maximum": high,
    }
    switches = [each for each in (True, False) if setting.fault(each) is None]
    return [number, *([{"type": "boolean", "enum": switches}] if switches else [])]


def _needed(settings: Iterable[Setting]) -> Schema:
    """Return the rule that required settings exist and are not null, unless a key is an expression."""
    needed = [each.name for each in settings if each.needed]
    if not needed:
        return {}
    there: Schema = {"required": needed, "properties": {name: {"not": {"type": "null"}} for name in needed}}
    return {"anyOf": [there, _has_key(_EXPRESSION)]}


def _only(names: Iterable[str], *, blanks: bool = False) -> Schema:
    """Return the rule that keys are in ``names`` (with ``blanks`` also with surrounding blanks) or expressions."""
    known: Schema = {"pattern": _words(names)} if blanks else {"enum": list(names)}
    return {"propertyNames": {"anyOf": [known, {"pattern": _EXPRESSION}]}}


def _has_key(pattern: str) -> Schema:
    return {"not": {"propertyNames": {"not": {"pattern": pattern}}}}


def _type_is(pattern: str) -> Schema:
    return {"required": ["task"], "properties": {"task": {"type": "string", "pattern": pattern}}}


def _words(names: Iterable[str]) -> str:
    return rf"^\s*({'|'.join(map(re.escape, names))})\s*$" if names else r"(?!)"


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}
