"""Generate the declared parts of the page about task types; the text between them is written by hand.

The line ``<!-- task type NAME -->`` begins a generated part, and ``<!-- end -->`` ends it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from docs.generate.markdown import cell
from eas.registry import Registry, TaskType, builtin, merge_registries
from eas.tasks.output_metadata import MetadataKey
from eas.tasks.settings import Choice, Group, Number, Setting, Switch

PAGE = Path(__file__).resolve().parents[1] / "reference" / "task_types.md"
BLOCK = re.compile(r"(<!-- task type ([a-z_]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def page() -> str:
    """Return the page with updated generated parts."""
    return filled(PAGE.read_text(encoding="utf-8"), merge_registries([("builtin", builtin())]))


def filled(text: str, registry: Registry) -> str:
    """Return a page with the generated part of each task type between its markers."""

    def block(found: re.Match[str]) -> str:
        return found[1] + "\n".join(["", *_section(registry, registry.task_types[found[2]]), ""]) + found[3]

    return BLOCK.sub(block, text)


def _section(registry: Registry, task_type: TaskType) -> Iterator[str]:
    yield f"### `{task_type.name}`"
    yield ""
    worker = registry.worker_types[task_type.worker_type]
    about = [
        f"{task_type.meaning[:1].upper()}{task_type.meaning[1:]}.",
        f"Worker type: `{worker.name}` ({worker.cpu} CPU, {worker.memory} GB).",
    ]
    if task_type.papers:
        about.append(f"Papers: {'; '.join(task_type.papers)}.")
    yield from [*about, ""]
    yield from _table(("file", "name", "meaning"), _files(task_type))
    yield from _table(
        ("setting", "default", "range", "unit", "meaning"), _settings(task_type.declared_settings() or ())
    )
    yield from _table(("output metadata", "value", "unit", "meaning"), map(_key, task_type.declared_metadata() or ()))
    if task_type.metadata_from:
        last = "; if several have the same name, the last value counts" if len(task_type.metadata_from) > 1 else ""
        yield from [f"Output metadata: the metadata of {_listed(task_type.metadata_from)}{last}.", ""]
    elif not task_type.declared_metadata():
        yield from ["Output metadata: none.", ""]
    if keys := task_type.declared_input_metadata():
        yield from [f"Uses these metadata of its inputs: {_listed([each.name for each in keys])}.", ""]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{each}`" for each in names)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a table and an empty line; nothing without rows."""
    lines = [re.sub(" +", " ", f"| {' | '.join(map(cell, row))} |") for row in rows]
    if lines:
        yield from [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *lines, ""]


def _files(task_type: TaskType) -> Iterator[tuple[str, str, str]]:
    if task_type.any_files:
        yield "input", "any", "a dependency of the task, which does not read the file"
    if task_type.dynamic_outputs:
        yield "output", "name of each ingested file", "its light curve; chains do not declare these outputs"
    for what in ("inputs", "outputs"):
        needed = getattr(task_type, what)
        for name, meaning in task_type.file_meanings("inputs" if what == "inputs" else "outputs").items():
            yield f"{'' if name in needed else 'optional '}{what[:-1]}", f"`{name}`", meaning


def _settings(settings: tuple[Setting, ...], where: str = "") -> Iterator[tuple[str, ...]]:
    for each in settings:
        if isinstance(each, Group):
            yield from _settings(each.settings, f"{each.name}.")
        else:
            unit = each.unit if isinstance(each, Number) and not isinstance(each, Switch) else ""
            yield f"`{where}{each.name}`", _default(each), _range(each), unit, each.meaning


def _default(setting: Setting) -> str:
    if setting.needed:
        return "required"
    default = getattr(setting, "default", None)
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else f"`{default}`" if isinstance(default, str) else f"{default:.10g}"


def _range(setting: Setting) -> str:
    if isinstance(setting, Choice):
        return ", ".join(f"`{each}`" for each in setting.choices)
    if isinstance(setting, Switch):
        return "true or false"
    if not isinstance(setting, Number):
        return "text"
    words = ["whole number"] if setting.whole else []
    if math.isfinite(setting.low):
        words.append(f"{'above' if setting.above else 'at least'} {setting.low:.10g}")
    if math.isfinite(setting.high):
        words.append(f"{'below' if setting.below else 'at most'} {setting.high:.10g}")
    return ", ".join(words)


def _key(key: MetadataKey) -> tuple[str, ...]:
    words = ", ".join(f"`{each}`" for each in key.choices)
    return f"`{key.name}`", words or key.kind, key.unit, key.meaning
