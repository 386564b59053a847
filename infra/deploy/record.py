"""The specification of a deployment, and the record of the last one in a ConfigMap of the namespace.

The record is written after a deployment has succeeded, so that a plain ``eas deploy`` does not repeat a failed
one. Explicit options are recorded; defaults are not, because they may change with the release.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import urlsplit

from eas.errors import RequestError
from eas.registry import BASE_WORKER_TYPE
from infra.deploy import manifests
from infra.deploy.client import Cluster, NoRightsError
from infra.deploy.manifests import Images

Object = dict[str, Any]
CONFIG_MAP = "eas-deployment"
KEY = "deployment.json"
OPTIONS = ("overlay", "registry", "tag", "queue", "fraction", "most_workers", "web_url")
MINIKUBE_FRACTION = 0.25
LEGACY_ANNOTATION = "eas-deployment"
"""Annotation of the namespace in which earlier releases kept the record."""


@dataclass(frozen=True)
class DeploySpec:
    """Options of `eas deploy`; None means the value of the last deployment, or else the default.

    ``workers`` are worker types to add to those deployed, ``without`` those to remove;
    ``worker_images`` maps worker types to custom images; ``fraction`` is the maximum share of
    the largest node for one worker, by default a quarter on minikube, elsewhere unlimited.
    ``web_url`` is the public address of `eas web`;
    ``rollback`` selects the deployment before the last one.
    """

    namespace: str = manifests.DEFAULT_NAMESPACE
    overlay: str | None = None
    registry: str | None = None
    tag: str | None = None
    queue: str | None = None
    workers: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    worker_images: Mapping[str, str] = field(default_factory=dict)
    fraction: float | None = None
    most_workers: int | None = None
    web_url: str | None = None
    rollback: bool = False


@dataclass(frozen=True)
class Record:
    """Record of the last deployment in a namespace.

    ``options`` are those that were given, ``workers`` maps worker types to the operator's own image or
    None, ``release`` has registry and tag in use, ``images`` those that were shown to start, and
    ``previous`` is the record before this one.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    workers: Mapping[str, str | None] = field(default_factory=dict)
    release: Mapping[str, str] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    previous: Mapping[str, Any] | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the record that ``to_json`` wrote."""
        return cls(
            options={key: value for key, value in (content.get("options") or {}).items() if key in OPTIONS},
            workers=dict(content.get("workers") or {}),
            release=dict(content.get("release") or {}),
            images=tuple(content.get("images") or ()),
            previous=content.get("previous"),
        )

    def to_json(self) -> Object:
        """Return it as plain data."""
        return {
            "options": dict(self.options),
            "workers": dict(self.workers),
            "release": dict(self.release),
            "images": sorted(self.images),
            "previous": self.previous,
        }

    @property
    def exists(self) -> bool:
        """Whether the namespace has a deployment."""
        return bool(self.options or self.workers or self.release)

    @property
    def wish(self) -> Object:
        """The options of the deployment, without the other fields of the record."""
        return {"options": dict(self.options), "workers": dict(self.workers), "release": dict(self.release)}

    def extended(self, spec: DeploySpec) -> Record:
        """Return the record that a successful deployment with ``spec`` will have."""
        options = dict(self.options) | {key: value for key in OPTIONS if (value := getattr(spec, key)) is not None}
        workers = dict(self.workers) | {name: spec.worker_images.get(name) for name in spec.workers}
        workers |= {name: image for name, image in spec.worker_images.items() if name in workers}
        workers = {name: image for name, image in workers.items() if name not in spec.without}
        release = {
            "registry": options.get("registry") or Images.registry,
            "tag": options.get("tag") or Images.tag,
        }
        return replace(self, options=options, workers=workers, release=release)

    def succeeded_by(self, new: Record) -> Record:
        """Return ``new`` with this record as its previous one, unless both have the same options."""
        before = self.previous if self.wish == new.wish else self.wish
        return replace(new, previous=before if self.release else None)

    def rolled_back(self) -> Record:
        """Return the record of the deployment before this one, with its release pinned.

        Raises RequestError where there is none.
        """
        if self.previous is None:
            raise RequestError(
                "there is no earlier deployment to restore", hint="give --tag, or deploy another release first"
            )
        earlier = Record.from_json(self.previous)
        return replace(earlier, options={**earlier.options, **earlier.release}, images=self.images)

    def to_spec(self, namespace: str) -> DeploySpec:
        """Return the complete specification, with defaults for options that were never given."""
        overlay = self.options.get("overlay", "minikube")
        share = MINIKUBE_FRACTION if overlay == "minikube" else None
        defaults: Object = {"overlay": overlay, "queue": "amqp", "fraction": share}
        return DeploySpec(
            namespace=namespace,
            workers=tuple(dict.fromkeys((BASE_WORKER_TYPE, *self.workers))),
            worker_images={name: image for name, image in self.workers.items() if image},
            **(defaults | dict(self.options) | dict(self.release)),
        )


def check(spec: DeploySpec) -> None:
    """Raise RequestError for contradictory options."""
    both = sorted(set(spec.workers) & set(spec.without))
    if both:
        raise RequestError(
            f"{', '.join(both)} cannot be both added and removed", hint="give --worker or --without-worker"
        )
    asked = spec.workers or spec.without or any(getattr(spec, key) is not None for key in OPTIONS)
    if spec.rollback and asked:
        raise RequestError("--rollback takes no other options of the deployment", hint="give --rollback alone")
    if spec.web_url is not None and not _is_web_address(spec.web_url):
        raise RequestError(
            "--web-url is not a web address", hint="for example https://eas.example, without user and password"
        )
    if BASE_WORKER_TYPE in spec.without:
        raise RequestError(
            f"{BASE_WORKER_TYPE} cannot be removed: every chain needs it", hint="`eas stop` stops everything"
        )


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


async def load(cluster: Cluster) -> Record:
    """Return the record of the namespace, or an empty one if nothing is deployed."""
    found = await cluster.get("ConfigMap", CONFIG_MAP)
    text = ((found or {}).get("data") or {}).get(KEY)
    return Record.from_json(json.loads(text)) if text else await _from_annotation(cluster)


async def _from_annotation(cluster: Cluster) -> Record:
    """Return the record that an earlier release wrote into an annotation of the namespace."""
    try:
        found = await cluster.get("Namespace", cluster.namespace)
    except NoRightsError:
        return Record()
    text = ((found or {}).get("metadata", {}).get("annotations") or {}).get(LEGACY_ANNOTATION)
    if not text:
        return Record()
    note = json.loads(text)
    workers = note.pop("workers", {})
    return Record.from_json({"options": note, "workers": workers})


def manifest(namespace: str, record: Record) -> Object:
    """Return the ConfigMap that holds the record."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CONFIG_MAP,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "eas"},
        },
        "data": {KEY: json.dumps(record.to_json(), sort_keys=True)},
    }


async def save(cluster: Cluster, record: Record) -> None:
    """Write the record. Idempotent."""
    await cluster.apply(manifest(cluster.namespace, record))
