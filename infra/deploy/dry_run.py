"""``eas deploy --dry-run``: lists changes of each object, as computed by the API server.

Each object is applied with the server's own dry run and compared with the present one, so that defaults and
admission controllers are included. Nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from infra.deploy import pods
from infra.deploy.client import Cluster, ClusterError, namespace_exists

Object = dict[str, Any]
IGNORED_FIELDS = frozenset({"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"})
MAX_VALUE_CHARS = 120


async def changes(cluster: Cluster, objects: Sequence[Object], secrets: Sequence[str]) -> list[str]:
    """Return a line for each change that applying ``objects`` would make; ``secrets`` would be made where absent."""
    there = await namespace_exists(cluster)
    lines = [f"+ Secret {name}" for name in secrets if not there or await cluster.get("Secret", name) is None]
    for each in objects:
        title = f"{each['kind']} {pods.name_of(each)}"
        present = await cluster.get(each["kind"], pods.name_of(each)) if there else None
        if present is None:
            lines.append(f"+ {title}")
            continue
        found = list(differences(present, await _applied(cluster, each)))
        lines += [f"~ {title}: {line}" for line in found]
    return lines


async def _applied(cluster: Cluster, manifest: Object) -> Object:
    try:
        return await cluster.apply(manifest, dry_run=True)
    except ClusterError as error:
        raise ClusterError(
            f"{manifest['kind']} {pods.name_of(manifest)}: {error.what}", hint=error.hint or ""
        ) from None


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield a line for each field that differs between two objects, except for fields that the server maintains."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            if key in IGNORED_FIELDS or (not path and key == "status"):
                continue
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{path}[{_label(before, number)}]")
    elif old != new:
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _label(item: Any, number: int) -> str:
    return str(item["name"]) if isinstance(item, dict) and isinstance(item.get("name"), str) else str(number)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}..."
