"""The manifests of both overlays: valid for every Kubernetes they must run on, and kept to our policies."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions, major_minor
from packaging.version import Version
from prefect.settings import Settings as PrefectSettings
from prefect_kubernetes.settings import KubernetesSettings

import eas
from infra.deploy import manifests
from infra.deploy import rendered as rendered_files
from infra.deploy.client import KINDS
from infra.deploy.manifests import FOLDER, Images, containers, pod_of

Object = dict[str, Any]
OVERLAYS = [*manifests.overlays(), "setup", "cluster"]
RELEASES = sorted({each for each in map(major_minor, all_versions()) if Version(each) >= Version("1.32")})
SECRET_NAME = re.compile(r"passw|secret|token|credential|api_?key|connection_url|database_url|queue_url", re.IGNORECASE)

NAMES_OF_SECRETS = {"prefect-auth", "auth-string"}


@pytest.fixture(autouse=True, scope="module")
def quick_schemas() -> Iterator[None]:
    """Read each schema once: there are 1,000 validations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents))
        yield


@cache
def rendered(name: str) -> list[Object]:
    return manifests.render(FOLDER / name if name in ("setup", "cluster") else manifests.overlay_folder(name))


def workloads(name: str) -> Iterator[Object]:
    yield from (each for each in rendered(name) if pod_of(each) is not None)


def title(manifest: Object) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def test_the_releases_that_the_issue_names_are_checked() -> None:
    assert {"1.32", "1.33", "1.34", "1.35", "1.36", "1.37"} <= set(RELEASES)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", OVERLAYS)
def test_every_object_is_valid(name: str, release: str) -> None:
    for each in rendered(name):
        kubernetes_validate.validate(each, release, strict=True)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("overlay", rendered_files.EXAMPLES)
def test_every_object_that_eas_deploy_applies_is_valid(overlay: str, release: str) -> None:
    objects = list(yaml.safe_load_all((rendered_files.FOLDER / f"{overlay}-deployed.yaml").read_text(encoding="utf-8")))
    assert {"Job", "ConfigMap", "PriorityClass"} <= {each["kind"] for each in objects}
    for each in objects:
        kubernetes_validate.validate(each, release, strict=True)


def test_what_is_wrong_would_be_found() -> None:
    broken = json.loads(json.dumps(next(each for each in rendered("minikube") if each["kind"] == "Deployment")))
    broken["spec"]["template"]["spec"]["containers"][0]["securityContexts"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.36", strict=True)


@pytest.mark.parametrize("name", OVERLAYS)
def test_eas_deploy_can_apply_every_kind(name: str) -> None:
    assert {each["kind"] for each in rendered(name)} <= set(KINDS)


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_the_parts_are_there(name: str) -> None:
    found = {title(each) for each in rendered(name)}
    wanted = {"StatefulSet mysql", "StatefulSet rabbitmq", "Deployment prefect-server", "Deployment prefect-worker"}
    wanted |= {
        "StatefulSet postgres",
        "Deployment supervisor",
        "Deployment reconciler",
        "Deployment eas-web",
        "PersistentVolumeClaim eas-input",
    }
    wanted |= {"PersistentVolumeClaim eas-output", "NetworkPolicy default-deny", "PodDisruptionBudget mysql"}
    assert wanted <= found
    assert ("CronJob backup" in found) == (name == "production")


@pytest.mark.parametrize("name", OVERLAYS)
def test_pods_keep_to_the_restricted_standard(name: str) -> None:
    for each in workloads(name):
        pod = pod_of(each)
        assert pod is not None
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] > 0, title(each)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, title(each)
        assert pod["enableServiceLinks"] is False, f"{title(each)}: MYSQL_PORT and the like would be set"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not any("hostPath" in volume for volume in pod.get("volumes", []))
        for container in containers(each):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, title(each)
            assert own["readOnlyRootFilesystem"] is True, title(each)
            assert own["capabilities"] == {"drop": ["ALL"]}, title(each)


@pytest.mark.parametrize("name", OVERLAYS)
def test_containers_say_what_they_need(name: str) -> None:
    for each in workloads(name):
        for container in containers(each):
            for part in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][part].keys(), title(each)
            image, _, tag = container["image"].rpartition(":")
            assert "/" in image and tag and tag != "latest", f"{title(each)}: {container['image']}"
            assert container["imagePullPolicy"] == "IfNotPresent"
            if each["kind"] in ("Deployment", "StatefulSet"):
                assert "livenessProbe" in container and "startupProbe" in container, title(each)
                assert "readinessProbe" in container or "ports" not in container, title(each)


@pytest.mark.parametrize("name", [*manifests.overlays(), "setup"])
def test_our_images_have_the_release_as_their_tag(name: str) -> None:
    ours = [
        c["image"]
        for each in workloads(name)
        for c in containers(each)
        if c["image"].startswith(manifests.IMAGE_PREFIX)
    ]
    assert ours
    assert {image.rpartition(":")[2] for image in ours} == {eas.__version__}


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_secret_is_written_down(name: str) -> None:
    assert not [each for each in rendered(name) if each["kind"] == "Secret"]
    for each in workloads(name):
        for container in containers(each):
            for entry in container.get("env", []):
                names_one = (
                    entry["name"].endswith(("_SECRET_NAME", "_SECRET_KEY")) and entry["value"] in NAMES_OF_SECRETS
                )
                if SECRET_NAME.search(entry["name"]) and not names_one:
                    assert "secretKeyRef" in entry.get("valueFrom", {}), f"{title(each)}: {entry['name']}"
    assert not re.search(r"://[^/@\s]*:[^/@\s$]+@", json.dumps(rendered(name))), "a URL with a password"


@pytest.mark.parametrize("name", OVERLAYS)
def test_only_who_needs_it_has_a_token(name: str) -> None:
    with_token = {
        title(each) for each in workloads(name) if (pod_of(each) or {}).get("automountServiceAccountToken") is not False
    }
    assert with_token <= {"Deployment prefect-worker", "Deployment reconciler"}


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_rights_end_at_the_namespace(name: str) -> None:
    assert not [each for each in rendered(name) if each["kind"].startswith("ClusterRole")]
    for each in rendered(name):
        if each["kind"] == "Role":
            for rule in each["rules"]:
                assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]], title(each)
                assert "secrets" not in rule["resources"], title(each)


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_what_is_selected_exists(name: str) -> None:
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in rendered(name)
        if each["kind"] in ("Deployment", "StatefulSet")
    ]
    for each in rendered(name):
        if each["kind"] in ("Service", "PodDisruptionBudget"):
            selector = each["spec"]["selector"]
            wanted = selector.get("matchLabels", selector) if each["kind"] == "PodDisruptionBudget" else selector
            assert any(wanted.items() <= found.items() for found in labels), title(each)
        if each["kind"] == "NetworkPolicy":
            for rule in each["spec"].get("ingress", []):
                for peer in rule["from"]:
                    assert any(peer["podSelector"]["matchLabels"].items() <= found.items() for found in labels), title(
                        each
                    )


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_claims_that_are_mounted_exist(name: str) -> None:
    claims = {each["metadata"]["name"] for each in rendered(name) if each["kind"] == "PersistentVolumeClaim"}
    for each in workloads(name):
        pod = pod_of(each)
        assert pod is not None
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", [])}
        for volume in pod.get("volumes", []):
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims, title(each)
        for container in containers(each):
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, title(each)


def test_databases_never_lose_their_volumes() -> None:
    for name in ("minikube", "production"):
        for each in rendered(name):
            if each["kind"] == "StatefulSet":
                assert set(each["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


def test_minikube_asks_for_no_shared_volume() -> None:
    modes = {
        each["metadata"]["name"]: each["spec"]["accessModes"]
        for each in rendered("minikube")
        if each["kind"] == "PersistentVolumeClaim"
    }
    assert all(mode == ["ReadWriteOnce"] for mode in modes.values()), modes


def test_minikube_fits_on_a_small_machine() -> None:
    from infra.deploy.resources import quantity

    memory = sum(
        quantity(c["resources"]["requests"]["memory"]) for each in workloads("minikube") for c in containers(each)
    )
    cpu = sum(quantity(c["resources"]["requests"]["cpu"]) for each in workloads("minikube") for c in containers(each))
    assert memory < 4e9 and cpu < 1.5, f"{memory / 1e9:.1f} GB, {cpu} cores"


def test_another_namespace_and_other_images_reach_every_object() -> None:
    images = Images("registry.example/plato", "1.2.3")
    changed = manifests.customise(rendered("production"), "elsewhere", images)
    text = yaml.safe_dump_all(changed)
    assert "plato-" not in text
    for each in changed:
        found = each["metadata"]["name"] if each["kind"] == "Namespace" else each["metadata"]["namespace"]
        assert found == "elsewhere", title(each)
        for subject in each.get("subjects", []):
            assert subject["namespace"] == "elsewhere"
    ours = {c["image"] for each in changed for c in containers(each) if "/eas-" in c["image"]}
    assert ours == {"registry.example/plato/eas-base:1.2.3", "registry.example/plato/eas-web:1.2.3"}
    assert changed[0]["kind"] == "Namespace"
    assert rendered("production")[0]["metadata"].get("namespace") != "elsewhere", "the input was changed"


def test_an_overlay_elsewhere_builds_on_the_published_base_by_url(tmp_path: Path) -> None:
    """As an operator does without a clone: a git address, another namespace, images by digest."""
    published, own = tmp_path / "published", tmp_path / "own"
    shutil.copytree(FOLDER, published / "infra" / "kubernetes")
    identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.org"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "published"], ["tag", "v1"]):
        subprocess.run(["git", *words], cwd=published, check=True)
    own.mkdir()
    digest = f"sha256:{'0123456789abcdef' * 4}"
    images = [
        {"name": f"localhost/eas-{name}", "newName": f"r.example/eas-{name}", "digest": digest}
        for name in ("base", "web")
    ]
    content = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "mine"}
    address = f"file://{published}//infra/kubernetes/overlays/production?ref=v1"
    (own / "kustomization.yaml").write_text(yaml.safe_dump(content | {"resources": [address], "images": images}))
    found = manifests.render(own)
    assert len(found) == len(rendered("production"))
    for each in found:
        wanted = each["metadata"]["name"] if each["kind"] == "Namespace" else each["metadata"]["namespace"]
        assert wanted == "mine", title(each)
        assert all(subject["namespace"] == "mine" for subject in each.get("subjects", [])), title(each)
        for container in containers(each):
            assert "/eas-" not in container["image"] or container["image"].endswith(f"@{digest}"), title(each)


def test_the_setup_job_carries_what_was_decided() -> None:
    job = manifests.setup_job("elsewhere", Images(), {"workers": {"eas-base": {"cpu": 1}}})
    environment = {entry["name"]: entry.get("value") for entry in next(containers(job))["env"]}
    assert json.loads(environment["EAS_DEPLOYMENT"] or "") == {"workers": {"eas-base": {"cpu": 1}}}
    assert job["metadata"]["name"] == "eas-setup"


def test_secrets_that_pods_refer_to_are_made() -> None:
    from infra.deploy import secrets

    assert manifests.secrets_needed(rendered("production")) == set(secrets.NAMES)
    assert manifests.secrets_needed(rendered("minikube")) == set(secrets.NAMES)


def test_an_unknown_overlay_is_refused() -> None:
    from eas.errors import RequestError

    with pytest.raises(RequestError, match="no overlay nowhere") as raised:
        manifests.overlay_folder("nowhere")
    assert "minikube" in raised.value.hint


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_the_old_version_serves_until_the_new_one_is_ready(name: str) -> None:
    strategies = {title(each): each["spec"].get("strategy") for each in workloads(name)}
    for each in ("supervisor", "reconciler", "prefect-server", "eas-web"):
        assert strategies[f"Deployment {each}"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_who_asks_the_prefect_server_knows_its_password_and_the_worker_gives_it_to_jobs_as_a_secret(name: str) -> None:
    for each in [*workloads(name), *workloads("setup")]:
        for container in containers(each):
            environment = {entry["name"]: entry for entry in container.get("env", [])}
            if "PREFECT_API_URL" in environment:
                secret = environment["PREFECT_API_AUTH_STRING"]["valueFrom"]["secretKeyRef"]
                assert secret == {"name": "prefect-auth", "key": "auth-string"}, title(each)
            if title(each) == "Deployment prefect-worker":
                prefix = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET"
                found = environment[f"{prefix}_NAME"]["value"], environment[f"{prefix}_KEY"]["value"]
                assert found == ("prefect-auth", "auth-string")


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_a_busy_prefect_server_keeps_its_endpoint_and_its_life(name: str) -> None:
    (server,) = [each for each in workloads(name) if title(each) == "Deployment prefect-server"]
    (container,) = containers(server)
    assert "tcpSocket" in container["readinessProbe"] and "tcpSocket" in container["livenessProbe"]
    assert "httpGet" in container["startupProbe"]
    environment = {entry["name"] for entry in container["env"]}
    assert {"PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_SERVER_API_AUTH_STRING"} <= environment
    assert server["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_eas_web_asks_for_a_password_reaches_the_task_database_alone_and_writes_no_file(name: str) -> None:
    (web,) = [each for each in workloads(name) if title(each) == "Deployment eas-web"]
    (container,) = containers(web)
    environment = {entry["name"]: entry for entry in container["env"]}
    secret = environment["EAS_WEB_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert secret == {"name": "eas-web-auth", "key": "password"}
    assert all(mount.get("readOnly") for mount in container["volumeMounts"] if mount["mountPath"] != "/tmp")
    (policy,) = [each["spec"] for each in rendered(name) if title(each) == "NetworkPolicy eas-web"]
    assert policy["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in policy
    peers = [each["podSelector"]["matchLabels"] for rule in policy["egress"] for each in rule.get("to", [])]
    assert peers == [{"app.kubernetes.io/name": "mysql"}]


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_a_drained_node_keeps_what_has_one_replica_and_data_or_clients_to_lose(name: str) -> None:
    budgets = {
        each["metadata"]["name"]: each["spec"] for each in rendered(name) if each["kind"] == "PodDisruptionBudget"
    }
    wanted = {each["metadata"]["name"] for each in rendered(name) if each["kind"] == "StatefulSet"} | {"prefect-server"}
    assert set(budgets) == wanted
    for each, spec in budgets.items():
        assert spec["minAvailable"] == 1
        assert spec["selector"]["matchLabels"]["app.kubernetes.io/name"] == each


@pytest.mark.parametrize("name", ["minikube", "production"])
def test_the_prefect_worker_sees_pods_end_and_cancelled_runs_that_have_not_begun_end_soon(name: str) -> None:
    environment = {
        title(each): {entry["name"]: entry for container in containers(each) for entry in container.get("env", [])}
        for each in workloads(name)
    }
    observed = environment["Deployment prefect-worker"]["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"]
    assert observed["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"
    timeout = "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS"
    assert float(environment["Deployment prefect-server"][timeout]["value"]) <= 30.0


@pytest.mark.parametrize("name", [*manifests.overlays(), "setup"])
def test_prefect_knows_every_setting_that_it_is_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        entry["name"]: entry.get("value", "any")
        for each in workloads(name)
        for container in containers(each)
        for entry in container.get("env", [])
        if entry["name"].startswith("PREFECT_")
    }
    assert given
    for setting, value in given.items():
        monkeypatch.setenv(setting, value)
    known = set(PrefectSettings().to_environment_variables(exclude_unset=True))
    of_worker = KubernetesSettings().model_dump(exclude_unset=True)
    known |= {
        f"PREFECT_INTEGRATIONS_KUBERNETES_{part}_{field}".upper()
        for part, fields in of_worker.items()
        for field in fields
    }
    assert set(given) <= known


@pytest.mark.parametrize("name", ["minikube", "production", "setup"])
def test_clients_of_prefect_wait_out_an_absence_of_five_minutes(name: str) -> None:
    for each in workloads(name):
        for container in containers(each):
            environment = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
            if "PREFECT_API_URL" in environment and title(each) != "Deployment reconciler":  # it tries again by itself
                retries = int(environment["PREFECT_CLIENT_MAX_RETRIES"] or 0)
                assert sum(2.0**number for number in range(1, retries + 1)) >= 300.0, title(each)
