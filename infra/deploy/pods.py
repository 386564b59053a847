"""Diagnosis of pods: pure functions from a pod's status to problem, reason and hint."""

from __future__ import annotations

from typing import Any, NamedTuple

Object = dict[str, Any]
PULL_TROUBLE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
CONFIG_TROUBLE = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


class PodProblem(NamedTuple):
    """A problem of a pod."""

    what: str
    hint: str


def name_of(manifest: Object) -> str:
    """Return an object's name."""
    return str(manifest["metadata"]["name"])


def is_ready(pod: Object) -> bool:
    """Whether a pod answers its readiness probe."""
    return any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in pod.get("status", {}).get("conditions") or []
    )


def is_over(pod: Object) -> bool:
    """Whether no container of a pod will run again."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def is_unfinished(job: Object) -> bool:
    """Whether a Job has pods that run or may run."""
    conditions = job.get("status", {}).get("conditions") or []
    return not any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def restarts(pod: Object) -> int:
    """Return the number of restarts of a pod's containers."""
    return sum(int(each.get("restartCount", 0)) for each in _statuses(pod))


def trouble(pod: Object) -> PodProblem | None:
    """Return the problem that prevents a pod from running, or None."""
    name = name_of(pod)
    if (unscheduled := _unscheduled(pod)) is not None:
        return PodProblem(f"pod {name} cannot be scheduled: {unscheduled or 'no reason given'}", _room(unscheduled))
    for each in _statuses(pod):
        if found := _container_trouble(name, each):
            return found
    return None


def is_unscheduled(pod: Object) -> bool:
    """Return whether the scheduler has not found a node for a pod yet."""
    return _unscheduled(pod) is not None


def lacks_resources(pod: Object) -> bool:
    """Whether a pod waits because no node has enough cores or memory left."""
    return "Insufficient" in (_unscheduled(pod) or "")


def _unscheduled(pod: Object) -> str | None:
    """Return why a pod cannot be scheduled; None if it is scheduled, or the scheduler has not tried yet."""
    for each in pod.get("status", {}).get("conditions") or []:
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return str(each.get("message", ""))
    return None


def _room(said: str) -> str:
    if "PersistentVolumeClaim" in said or "volume" in said:
        return "see `kubectl get pvc,storageclass`: set a storage class that can create the volume"
    if "Insufficient" in said:
        return "give --limit-to-system-fraction, stop something else, or add a node"
    return "see `kubectl describe nodes`: taints and labels must match"


def _container_trouble(pod: str, status: Object) -> PodProblem | None:
    waiting = status.get("state", {}).get("waiting") or {}
    reason, said = waiting.get("reason", ""), waiting.get("message", "")
    if reason in PULL_TROUBLE:
        hint = "build and load the images (`make images`), or give --registry and --tag"
        return PodProblem(f"pod {pod} cannot get its image {status.get('image', '')}: {said or reason}", hint)
    if reason in CONFIG_TROUBLE:
        return PodProblem(f"pod {pod} cannot be started: {said or reason}", "see `kubectl describe pod`")
    if reason == "CrashLoopBackOff":
        why = death(status) or said
        return PodProblem(f"pod {pod} keeps failing: {why}", f"see `kubectl logs --previous {pod}`")
    return None


def death(status: Object) -> str:
    """Return how a container ended last, from its status; empty where it did not."""
    for state in (status.get("state"), status.get("lastState")):
        ended = (state or {}).get("terminated")
        if ended and ended.get("reason") == "OOMKilled":
            return f"{status.get('name', 'container')} was killed: out of memory (OOMKilled)"
        if ended and ended.get("exitCode"):
            code = int(ended["exitCode"])
            how = f"was killed by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
            return f"{status.get('name', 'container')} {how}" + (
                f": {ended['message']}" if ended.get("message") else ""
            )
    return ""


def end_of(pod: Object) -> str:
    """Return why a pod ended: evicted, out of memory, past its deadline, ...; empty on success."""
    status = pod.get("status", {})
    if status.get("reason"):
        return f"Kubernetes ended its pod: {status['reason']}" + (
            f" ({status['message']})" if status.get("message") else ""
        )
    for each in _statuses(pod):
        if found := death(each):
            return found
    for condition in status.get("conditions") or []:
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return f"its pod was evicted: {condition.get('message') or condition.get('reason')}"
    return "its pod failed" if status.get("phase") == "Failed" else ""


def images(pod: Object) -> list[str]:
    """Return the images of a pod's containers, without the registry: ``eas-tls:0.2.0``."""
    found = [str(each.get("image", "")) for each in pod.get("spec", {}).get("containers") or []]
    return sorted({each.rpartition("/")[2] for each in found})


def table_row(pod: Object) -> tuple[str, str, str, str, str]:
    """Return name, state, restarts, image and node of a pod, as `eas status` shows them."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp"):
        state = "leaving"
    elif found := trouble(pod):
        state = found.what.partition(": ")[2] or found.what
    elif status.get("phase") == "Running":
        state = "ready" if is_ready(pod) else "running, not ready"
    else:
        state = str(status.get("phase", "unknown")).lower()
    node = str(pod.get("spec", {}).get("nodeName", ""))
    return name_of(pod), state, str(restarts(pod)), ", ".join(images(pod)), node
