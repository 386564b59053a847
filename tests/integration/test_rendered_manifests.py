"""The stored example of each overlay is what `eas deploy` sends to the server."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import yaml

from infra.deploy import manifests, rendered
from tests.integration.cluster_operator import Operator
from tests.integration.fake_cluster import FakeCluster

Object = dict[str, Any]
MADE_BY_THE_SERVER = ("generation", "resourceVersion")


def named(objects: list[Object]) -> dict[str, Object]:
    return {f"{each['kind']} {each['metadata']['name']}": each for each in objects}


def sent(cluster: FakeCluster) -> dict[str, Object]:
    """Return what was applied, and the setup Job, which is created."""
    job = cluster.all_of("Job")["eas-setup"]
    job.pop("status")
    for entry in next(manifests.containers(job))["env"]:
        if entry["name"] == "EAS_DEPLOYMENT":  # the command's number is the time
            entry["value"] = json.dumps(json.loads(entry["value"]) | {"number": rendered.NUMBER}, sort_keys=True)
    job["metadata"] = {key: each for key, each in job["metadata"].items() if key not in MADE_BY_THE_SERVER}
    return named([*json.loads(json.dumps(list(cluster.applied.values()))), job])


@pytest.mark.parametrize("overlay", manifests.overlays())
def test_the_example_is_what_is_applied(operator: Operator, overlay: str) -> None:
    program, *arguments = shlex.split(rendered.EXAMPLES[overlay][0])
    assert program == "eas"
    operator.eas(*arguments)
    found = sent(operator.cluster)
    text = (rendered.FOLDER / f"{overlay}-deployed.yaml").read_text(encoding="utf-8")
    wanted = named(list(yaml.safe_load_all(text)))
    assert set(found) == set(wanted)
    for name, each in wanted.items():
        assert found[name] == each, name
