"""The work pool's job template, rendered by Prefect's own code as its worker does for a flow run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from kubernetes_validate.utils import all_versions, major_minor
from packaging.version import Version
from prefect.client.schemas.objects import Flow, FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

import eas
from infra.deploy.resources import PodResources
from infra.deploy.setup import TEMPLATE, pool_template
from tests.processes import ROOT

Object = dict[str, Any]
CONTENT: Object = json.loads(TEMPLATE.read_text())
SERVER = {"PREFECT_API_URL": "http://prefect-server:4200/api"}


class NoClient:
    """Nothing in the template refers to blocks or variables of the server: nothing is asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the server was asked: {name}")


def job(**variables: Any) -> Object:
    jsonschema.validate(variables, CONTENT["variables"])

    async def render() -> Object:
        configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(
            CONTENT, variables, client=NoClient()
        )
        run = FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="eas-worker-tls", labels={})
        configuration.prepare_for_flow_run(run, flow=Flow(id=run.flow_id, name="work", labels={}))
        return configuration.job_manifest

    return asyncio.run(render())


def container(manifest: Object) -> Object:
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(manifest: Object) -> Object:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container(manifest)["env"]}


RELEASES = sorted({each for each in map(major_minor, all_versions()) if Version(each) >= Version("1.32")})


def without_prefect_peculiarities(manifest: Object) -> Object:
    """Prefect wants ``parallelism`` and ``completions`` in the pod, where Kubernetes drops them without a word."""
    pod = manifest["spec"]["template"]["spec"]
    return manifest | {"spec": manifest["spec"] | {"template": manifest["spec"]["template"] | {
        "spec": {key: value for key, value in pod.items() if key not in ("parallelism", "completions")}}}}  # fmt: skip


@pytest.mark.parametrize("release", RELEASES)
def test_a_job_is_valid(release: str) -> None:
    everything: Object = {
        "gpu": 1, "node_selector": {"disk": "ssd"}, "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "priority_class": "high", "image_pull_secrets": [{"name": "registry"}],
    }  # fmt: skip
    for manifest in (job(), job(**everything)):
        kubernetes_validate.validate(without_prefect_peculiarities(manifest), release, strict=True)
        assert "{{" not in json.dumps(manifest)


def test_variables_reach_the_job() -> None:
    manifest = job(
        image="registry/eas-tls:2", cpu="500m", memory="3G", gpu=2, namespace="elsewhere", finished_job_ttl=3600,
        active_deadline=77, grace_period=9, node_selector={"disk": "ssd"}, tolerations=[{"key": "gpu"}],
        priority_class="high", secrets=[{"secretRef": {"name": "mine"}}], service_account_name="me",
        env={"MORE": "1"}, labels={"team": "plato"},
    )  # fmt: skip
    spec, pod = manifest["spec"], manifest["spec"]["template"]["spec"]
    assert manifest["metadata"]["namespace"] == "elsewhere"
    assert manifest["metadata"]["labels"]["team"] == "plato"
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (77, 3600)
    assert pod["terminationGracePeriodSeconds"] == 9
    assert (pod["nodeSelector"], pod["tolerations"], pod["priorityClassName"]) == (
        {"disk": "ssd"},
        [{"key": "gpu"}],
        "high",
    )
    assert pod["serviceAccountName"] == "me"
    found = container(manifest)
    assert found["image"] == "registry/eas-tls:2"
    assert found["resources"]["requests"] == {"cpu": "500m", "memory": "3G"}
    assert found["resources"]["limits"] == {"cpu": "500m", "memory": "3G", "nvidia.com/gpu": 2}
    assert found["envFrom"] == [{"secretRef": {"name": "mine"}}]
    assert environment(manifest)["MORE"] == "1"
    assert environment(manifest)["EAS_DATA_DIR"] == "/data", (
        "a deployment's env must be merged, not replace the default"
    )


def test_a_gpu_is_asked_for_only_where_one_is_wanted() -> None:
    assert "nvidia.com/gpu" not in container(job())["resources"]["limits"]
    variables = PodResources(cpu=2, gpu=0, memory=4).job_variables()
    assert "nvidia.com/gpu" not in container(job(**variables))["resources"]["limits"]
    variables = PodResources(cpu=2, gpu=1, memory=4).job_variables()
    assert container(job(**variables))["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_what_is_not_set_is_not_there() -> None:
    pod = job()["spec"]["template"]["spec"]
    assert not {"nodeSelector", "tolerations", "priorityClassName", "imagePullSecrets"} & pod.keys()


def test_kubernetes_does_not_run_a_run_twice() -> None:
    manifest = job()
    assert manifest["spec"]["backoffLimit"] == 0
    assert manifest["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    # With this limit Prefect would set `reschedule`, which runs the flow again from its start.
    assert environment(manifest)["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "relinquish"
    # A pod that drains well after it was asked to exit counts as succeeded, not as failed.
    assert manifest["spec"]["podReplacementPolicy"] == "Failed"


def test_a_run_waits_for_prefects_api_as_long_as_its_server_may_take_to_start(tmp_path: Path) -> None:
    assert float(environment(job())["EAS_AWAIT_PREFECT"]) >= 300.0
    assert "command" not in container(job()), "the image's entry point waits"
    (python := tmp_path / "python").write_text('#!/bin/sh\necho "python $*"\nexit 1\n')
    python.chmod(0o755)
    for given, said in (("300", "python -m infra.deploy.await_prefect 300\nworks\n"), ("", "works\n")):
        variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "EAS_AWAIT_PREFECT": given}
        command = ["sh", str(ROOT / "infra/images/entry.sh"), "echo", "works"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True)
        assert (done.stdout, done.returncode) == (said, 0), "one that never answers is no reason not to start"


def test_a_silent_end_is_noticed() -> None:
    manifest = job()
    assert environment(manifest)["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert manifest["spec"]["ttlSecondsAfterFinished"] >= 3600, "a Prefect worker that is away would never hear of it"


def test_a_worker_knows_its_pod_and_leaves_in_order() -> None:
    manifest = job()
    names = [entry["name"] for entry in container(manifest)["env"]]
    assert names.index("EAS_HOST") > max(names.index("EAS_NAMESPACE"), names.index("EAS_POD")), "it refers to them"
    assert environment(manifest)["EAS_HOST"] == "k8s:$(EAS_NAMESPACE)/$(EAS_POD)"
    assert container(manifest)["lifecycle"]["preStop"]["exec"]["command"] == ["python", "-m", "infra.deploy.drain"]


def test_jobs_are_found_and_let_in_by_their_labels() -> None:
    manifest = job()
    assert manifest["metadata"]["labels"]["eas-role"] == "job"
    assert manifest["metadata"]["labels"]["prefect.io/flow-run-id"]
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    assert (labels["eas-role"], labels["eas-access"]) == ("job", "services")
    assert labels["prefect.io/flow-name"] == "work", "`eas restart-workers` looks for it"


def test_a_job_keeps_to_the_restricted_standard() -> None:
    manifest = job()
    pod, found = manifest["spec"]["template"]["spec"], container(manifest)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    own = found["securityContext"]
    assert own == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    mounts = {mount["mountPath"]: mount for mount in found["volumeMounts"]}
    assert mounts["/data/input"]["readOnly"] is True


def test_no_secret_value_is_in_a_job() -> None:
    text = json.dumps(job())
    assert "secretKeyRef" not in text
    assert json.loads(json.dumps(container(job())["envFrom"])) == [{"secretRef": {"name": "eas-settings"}}]
    assert not [name for name in environment(job()) if name in ("EAS_DATABASE_URL", "EAS_QUEUE_URL")]


def test_a_deployment_sets_image_and_namespace() -> None:
    changed = pool_template(CONTENT, {"image": "registry/eas-base:9"}, "elsewhere")
    properties = changed["variables"]["properties"]
    assert (properties["image"]["default"], properties["namespace"]["default"]) == ("registry/eas-base:9", "elsewhere")
    assert CONTENT["variables"]["properties"]["namespace"]["default"] == "plato", "the template itself was changed"


def test_the_template_has_the_release_as_its_tag() -> None:
    assert CONTENT["variables"]["properties"]["image"]["default"].endswith(f":{eas.__version__}")


@pytest.mark.parametrize("name", sorted(CONTENT["variables"]["properties"]))
def test_every_variable_is_described_and_used(name: str) -> None:
    described = CONTENT["variables"]["properties"][name]
    assert described["title"] and described["description"].endswith(".")
    assert "{{ " + name + " }}" in json.dumps(CONTENT["job_configuration"])
