"""Generate the page about deployments and blocks from prefect.yaml, the flows and the block classes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

import blocks
from docs.generate.markdown import NOTE, cell

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = (blocks.EASDatabase, blocks.EASJobQueue, blocks.EASFileStore)


def page() -> str:
    """Return the page about deployments, their parameters, and blocks."""
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    lines = [
        "# Deployments and blocks",
        "",
        NOTE,
        "",
        "`prefect --no-prompt deploy --all` creates these deployments; [With a Prefect server](../how_to/prefect.md)",
        "describes how they work together. `prefect deployment run NAME --param KEY=VALUE` starts one.",
    ]
    seen: set[str] = set()
    for each in declared:
        lines += _deployment(each, known=each["entrypoint"] in seen)
        seen.add(each["entrypoint"])
    lines += ["", "## Blocks", "", "`eas blocks save` saves one block of each type with the current settings."]
    for block in BLOCKS:
        lines += _block(block)
    return "\n".join(lines) + "\n"


def _deployment(declared: Mapping[str, Any], known: bool) -> Iterator[str]:
    path, _, function = declared["entrypoint"].partition(":")
    flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), function)
    name = f"{flow.name}/{declared['name']}"
    yield from ("", f"## {name}", "", cell(declared["description"]), "")
    yield f"Work queue: `{declared['work_pool']['work_queue_name']}`."
    if limit := declared.get("concurrency_limit"):
        rest = "further runs are cancelled" if limit["collision_strategy"] == "CANCEL_NEW" else "further runs wait"
        yield f"Concurrency limit: {limit['limit']}; {rest}."
    if known:
        yield "Parameters: as for the first deployment of this flow."
        return
    schema = flow.parameters.model_dump()
    given = declared.get("parameters") or {}
    yield from ("", "| parameter | type | default | meaning |", "|---|---|---|---|")
    for key, values in schema["properties"].items():
        needed = key in (schema.get("required") or ()) and key not in given
        default = "required" if needed else f"`{given.get(key, values.get('default'))}`"
        yield f"| `{key}` | {_type(values)} | {default} | {cell(values.get('description', ''))} |"


def _type(values: Mapping[str, Any]) -> str:
    """Return the type in a JSON Schema as text."""
    if "anyOf" in values:
        return " or ".join(dict.fromkeys(_type(each) for each in values["anyOf"] if each.get("type") != "null"))
    if "enum" in values:
        return " or ".join(f"`{each}`" for each in values["enum"])
    if values.get("type") == "array":
        return f"list of {_type(values['items'])}" if "items" in values else "list"
    return str(values.get("type", "any"))


def _block(block: Any) -> Iterator[str]:
    yield from ("", f"### {block.__name__}", "", cell(block.__doc__.strip().splitlines()[0]), "")
    yield from ("| field | default | meaning |", "|---|---|---|")
    for key, field in block.model_fields.items():
        if key.startswith("_") or not field.description:
            continue
        default = "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)}`"
        yield f"| `{key}` | {default} | {cell(field.description)} |"
