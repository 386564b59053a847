"""``python -m infra.deploy.rendered``: writes the rendered manifests, so that commits show their changes.

Two files for each overlay: what kustomize makes of it, and what an example of `eas deploy` applies. They have
no secrets, which `eas deploy` makes in the cluster, and no release: our images have the tag *VERSION* there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import yaml

from eas import registry
from infra.deploy import manifests, record
from infra.deploy.deploy import resolve_options
from infra.deploy.record import DeploySpec, Record
from infra.deploy.resources import Capacity

Object = dict[str, Any]
FOLDER = manifests.FOLDER / "rendered"
TAG = "VERSION"
NODE = Capacity(cpu=8, gpu=0, memory=32.0)
"""The largest node of the examples' cluster."""
NUMBER = 1
"""Fixed command number of the examples; real commands use the time."""
EXAMPLES: Mapping[str, tuple[str, DeploySpec]] = {
    "minikube": (
        f"eas deploy --tag {TAG} --worker eas-worker-bls-reference",
        DeploySpec(tag=TAG, workers=("eas-worker-bls-reference",)),
    ),
    "production": (
        "eas deploy --namespace transits --overlay production --queue-implementation sql --most-workers 20"
        f" --registry registry.example/plato --tag {TAG} --web-url https://eas.example"
        " --worker eas-worker-tls --worker-image eas-worker-tls=registry.example/own-tls:1",
        DeploySpec(
            "transits", overlay="production", queue="sql", most_workers=20, registry="registry.example/plato", tag=TAG,
            web_url="https://eas.example", workers=("eas-worker-tls",),
            worker_images={"eas-worker-tls": "registry.example/own-tls:1"},
        ),
    ),
}  # fmt: skip
"""Overlay to an example command and its specification."""


class _Dumper(yaml.SafeDumper):
    """Writes multi-line texts as YAML block scalars, so that embedded files can be compared line by line."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write an object that occurs twice in full each time."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def kustomized(name: str) -> list[Object]:
    """Return what kustomize makes of a folder of ``infra/kubernetes``, with *VERSION* as the tag of our images."""
    objects = manifests.render(manifests.FOLDER / name)
    for each in objects:
        for container in manifests.containers(each):
            if container["image"].startswith(manifests.IMAGE_PREFIX):
                container["image"] = f"{container['image'].rpartition(':')[0]}:{TAG}"
    return objects


def deployed(overlay: str) -> list[Object]:
    """Return what the example of an overlay applies to an empty cluster, but for Secrets."""
    plan = resolve_options(EXAMPLES[overlay][1], registry.load(), Record(), NODE)
    priority_class = manifests.priority_class()
    job = plan.setup_job(NUMBER, priority_class["metadata"]["name"])
    kept = record.manifest(plan.spec.namespace, Record().succeeded_by(plan.record))
    return [*plan.objects, priority_class, job, kept]


def page(what: str, objects: Callable[[], Iterable[Object]]) -> str:
    """Return a file's text."""
    body = yaml.dump_all(objects(), Dumper=_Dumper, width=120, allow_unicode=True)
    return f"# Generated: make manifests\n# {what}\n---\n{body}"


def _kustomized_page(folder: str) -> Callable[[], str]:
    return partial(page, f"kubectl kustomize infra/kubernetes/{folder}", partial(kustomized, folder))


FILES: Mapping[str, Callable[[], str]] = {
    **{f"{name}.yaml": _kustomized_page(f"overlays/{name}") for name in manifests.overlays()},
    **{f"{name}-deployed.yaml": partial(page, said, partial(deployed, name)) for name, (said, _) in EXAMPLES.items()},
    "setup.yaml": _kustomized_page("setup"),
}
"""Names below ``infra/kubernetes/rendered``, and the functions that return their text."""


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in FILES.items():
        (FOLDER / name).write_text(text(), encoding="utf-8")
        sys.stdout.write(f"wrote {(FOLDER / name).relative_to(manifests.FOLDER.parents[1])}\n")


if __name__ == "__main__":
    main()
