"""`eas deploy --dry-run`: what would change, and nothing is changed."""

from __future__ import annotations

import json

from infra.deploy.dry_run import differences
from tests.integration.cluster_operator import Operator


def test_on_an_empty_cluster_everything_is_new(operator: Operator) -> None:
    out, _ = operator.eas("deploy", "--dry-run", "--worker", "eas-worker-tls")
    for line in ("+ Namespace plato", "+ StatefulSet mysql", "+ Secret prefect-auth", "+ worker type eas-worker-tls"):
        assert line in out.splitlines()
    assert operator.cluster.changes() == []


def test_what_was_deployed_changes_nothing(operator: Operator) -> None:
    operator.eas("deploy", "--worker", "eas-worker-tls")
    before = operator.cluster.everything()
    out, _ = operator.eas("deploy", "--dry-run")
    assert out == "nothing would change\n"
    assert operator.cluster.everything() == before


def test_each_change_is_a_line(operator: Operator) -> None:
    operator.eas("deploy", "--tag", "7", "--worker", "eas-worker-tls")
    before = operator.cluster.everything()
    arguments = (
        "--tag",
        "8",
        "--most-workers",
        "3",
        "--without-worker",
        "eas-worker-tls",
        "--worker",
        "eas-worker-qats",
    )
    found = json.loads(operator.eas("deploy", "--dry-run", "--json", *arguments)[0])["changes"]
    place = "spec.template.spec.containers"
    assert (
        f"~ Deployment prefect-server: {place}[prefect-server].image: localhost/eas-web:7 -> localhost/eas-web:8"
        in found
    )
    assert f"~ Deployment supervisor: {place}[scaler].env[EAS_MOST_WORKERS].value: 8 -> 3" in found
    assert {"+ worker type eas-worker-qats", "- worker type eas-worker-tls", "+ image localhost/eas-qats:8"} <= set(
        found
    )
    assert not [line for line in found if "mysql" in line]
    assert operator.cluster.everything() == before


def test_a_wrong_request_is_refused_all_the_same(operator: Operator) -> None:
    _, err = operator.eas("deploy", "--dry-run", "--worker", "nonsense", code=2)
    assert "no worker type nonsense" in err


def test_differences_leave_out_what_the_server_keeps() -> None:
    old = {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}, "status": {"x": 1}, "spec": {"list": [1, 2]}}
    new = {"metadata": {"resourceVersion": "2", "labels": {}}, "status": {"x": 2}, "spec": {"list": [1]}}
    assert list(differences(old, new)) == ["metadata.labels.a: b -> nothing", "spec.list: [1, 2] -> [1]"]
