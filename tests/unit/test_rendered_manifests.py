"""What the manifests render to is stored, so that a commit shows what it changes in a cluster."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml

import eas
from eas.errors import RequestError
from infra.deploy import manifests, rendered

Object = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def needs_kubectl() -> None:
    try:
        manifests.kubectl()
    except RequestError as error:
        if os.environ.get("CI", "").lower() in ("1", "true", "yes"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def stored(name: str) -> str:
    return (rendered.FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", rendered.FILES)
def test_a_file_has_what_the_manifests_render_to(name: str) -> None:
    assert stored(name) == rendered.FILES[name](), "write it again: make manifests"


def test_there_is_no_other_file_and_none_is_missing_for_an_overlay() -> None:
    assert {path.name for path in rendered.FOLDER.iterdir()} == set(rendered.FILES)
    assert {f"{overlay}{end}.yaml" for overlay in manifests.overlays() for end in ("", "-deployed")} < set(
        rendered.FILES
    )


@pytest.mark.parametrize("name", rendered.FILES)
def test_a_release_or_a_secret_is_in_no_file(name: str) -> None:
    objects: list[Object] = list(yaml.safe_load_all(stored(name)))
    assert not [each for each in objects if each["kind"] == "Secret"]
    ours = {c["image"] for each in objects for c in manifests.containers(each) if "/eas-" in c["image"]}
    assert ours and {image.rpartition(":")[2] for image in ours} == {rendered.TAG}
    assert f"eas-base:{eas.__version__}" not in stored(name)


@pytest.mark.parametrize("overlay", manifests.overlays())
def test_what_kustomize_makes_of_an_overlay_is_read_back_unchanged(overlay: str) -> None:
    objects = json.loads(json.dumps(rendered.kustomized(f"overlays/{overlay}")))
    assert list(yaml.safe_load_all(stored(f"{overlay}.yaml"))) == objects


def test_a_text_of_several_lines_is_compared_line_by_line() -> None:
    text = rendered.page("example", lambda: [{"data": {"eas.cnf": "[mysqld]\nport = 3306\n"}}])
    assert text == "# Generated: make manifests\n# example\n---\ndata:\n  eas.cnf: |\n    [mysqld]\n    port = 3306\n"
