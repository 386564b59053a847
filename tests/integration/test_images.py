"""Each image, run as Kubernetes runs it: no root, no capabilities, a read-only root, no network.

They are not built here, which takes a quarter of an hour, and images that happen to lie around may be
old. To run these tests: install podman (or docker), `make images`, then `EAS_TEST_IMAGES=1 pytest
tests/integration/test_images.py`.
"""

from __future__ import annotations

import json
import os
import platform as host
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import eas
from eas import registry
from infra.images import TARGETS, target_of
from infra.images.build import command, find_container_tool, tags

ENGINE = find_container_tool() if "EAS_TEST_IMAGES" in os.environ else None
HOW = "install podman, `make images`, set EAS_TEST_IMAGES=1"
REGISTRY = registry.load()
SPECS = {"duration": 20, "orbital_period": 4, "semi_major_axis": 0.05, "noise": 3e-4, "sampling_cadence": 1800}
PSLS = {
    "duration": 8, "planet_radius": 1, "orbital_period": 2, "semi_major_axis": 0.03, "sampling_cadence": 1200,
    "number_camera_groups": 1, "number_cameras_per_group": 2, "master_seed": 1,
}  # fmt: skip
SEARCHES = {
    "transit_search_tls": "tls", "transit_search_qats": "qats",
    "transit_search_bls_reference": "bls", "transit_search_bls_kovacs": "bls",
}  # fmt: skip
SEARCH = [
    "--input=lightcurve=/curves/lc.gz", "--set=search_settings.period_min=2", "--set=search_settings.period_max=6",
]  # fmt: skip


def image(target: str) -> str:
    return tags("localhost", target, "unknown")[0]


def is_here(target: str) -> bool:
    return (
        "EAS_TEST_IMAGES" in os.environ
        and bool(ENGINE)
        and subprocess.run([str(ENGINE), "image", "inspect", image(target)], capture_output=True).returncode == 0
    )


def needs(target: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not is_here(target), reason=f"{image(target)} is not tested: {HOW}")


def run(target: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    folder.chmod(0o777)
    options = [
        "--rm",
        "--read-only",
        "--network=none",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--user=1000:1000",
    ]
    volumes = ["--tmpfs=/tmp:rw,exec,mode=1777", f"--volume={folder}:/curves", "--workdir=/opt/eas"]
    line = [str(ENGINE), "run", *options, *volumes, image(target), *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=110)


def attempt(target: str, folder: Path, task: str, *options: str) -> dict[str, Any]:
    done = run(target, folder, "eas", "try", task, *options, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["passed"]
    return answer


@pytest.fixture(scope="module")
def lightcurve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not is_here("psls-batman"):
        pytest.skip(f"{image('psls-batman')} is not tested: {HOW}")
    folder = tmp_path_factory.mktemp("images")
    options = [f"--set=specs.{name}={value}" for name, value in SPECS.items()]
    attempt("psls-batman", folder, "synthesis_batman", "--output", "lightcurve=/curves/lc.gz", *options)
    return folder


def test_every_task_type_is_run_in_some_image() -> None:
    covered = {"synthesis_batman": "psls-batman", "synthesis_psls": "psls-batman"} | SEARCHES
    for each in REGISTRY.task_types.values():
        if each.implementation and each.worker_type != "eas-base":
            assert covered[each.name] == target_of(REGISTRY.worker_types[each.worker_type])


@needs("psls-batman")
def test_psls_has_its_data(tmp_path: Path) -> None:
    options = [f"--set=specs.{name}={value}" for name, value in PSLS.items()]
    attempt("psls-batman", tmp_path, "synthesis_psls", "--output", "lightcurve=/curves/lc.gz", *options)


@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"web"}))
def test_every_worker_runs_the_core_tasks(target: str, lightcurve: Path) -> None:
    if not is_here(target):
        pytest.skip(f"{image(target)} is not tested: {HOW}")
    assert (
        attempt(target, lightcurve, "verify", "--input", "lightcurve=/curves/lc.gz")["metadata"]["verification"] is True
    )


@pytest.mark.parametrize("task", sorted(SEARCHES))
def test_searches_find_the_planet(task: str, lightcurve: Path) -> None:
    if not is_here(SEARCHES[task]):
        pytest.skip(f"{image(SEARCHES[task])} is not tested: {HOW}")
    answer = attempt(SEARCHES[task], lightcurve, task, *SEARCH)
    assert answer["metadata"]["period"] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("task", ["transit_search_tls", "transit_search_qats", "transit_search_bls_kovacs"])
def test_nothing_is_compiled_any_more(task: str, lightcurve: Path) -> None:
    target = SEARCHES[task]
    if not is_here(target):
        pytest.skip(f"{image(target)} is not tested: {HOW}")
    script = (
        f"eas try {task} {' '.join(SEARCH)} >/dev/null"
        " && find $EAS_NUMBA_CACHE -name '*.nb[ci]' | wc -l && find $NUMBA_CACHE_DIR -name '*.nb[ci]' | wc -l"
    )
    done = run(target, lightcurve, "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    made, now = map(int, done.stdout.split())
    assert 0 < made == now


@needs("web")
def test_the_web_image_has_the_web_interface(tmp_path: Path) -> None:
    where = "(Path(prefect.__file__).parent / 'server' / 'ui' / 'index.html')"
    done = run("web", tmp_path, "python", "-c", f"import prefect; from pathlib import Path; print({where}.exists())")
    assert done.stdout.strip() == "True", done.stdout + done.stderr


@needs("base")
def test_the_core_can_deploy_and_reconcile(tmp_path: Path) -> None:
    modules = "infra.deploy.setup, infra.deploy.reconcile, infra.deploy.supervise, infra.deploy.drain"
    done = run("base", tmp_path, "python", "-c", f"import {modules}; print(infra.deploy.setup.TEMPLATE.exists())")
    assert done.stdout.strip() == "True", done.stdout + done.stderr


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_images_are_labelled_and_run_as_nobody_special(target: str) -> None:
    if not is_here(target):
        pytest.skip(f"{image(target)} is not tested: {HOW}")
    done = subprocess.run([str(ENGINE), "image", "inspect", image(target)], capture_output=True, text=True)
    found = json.loads(done.stdout)[0]["Config"]
    assert found["User"] == "1000:1000"
    assert found["Labels"]["org.opencontainers.image.version"] == eas.__version__
    assert found["Labels"]["org.opencontainers.image.title"] == f"eas-{target}"
    text = json.dumps(found)
    assert "/run/secrets" not in text and "://" not in text.replace("http://prefect-server", "")


def test_the_build_command_passes_files_of_the_environment_as_secrets(tmp_path: Path) -> None:
    file = tmp_path / "certificates.crt"
    file.touch()
    line = command(
        "podman", "tls", base="debian:12", registry="r.example", at="abc123",
        environment={"SSL_CERT_FILE": str(file), "PIP_CONFIG_FILE": "/missing"}, extra=["--network=host"],
    )  # fmt: skip
    text = " ".join(line)
    assert f"--secret id=certificates,src={file}" in text and "pip_conf" not in text
    assert f"--tag r.example/eas-tls:{eas.__version__} --tag r.example/eas-tls:abc123" in text
    assert "--build-arg BASE_IMAGE=debian:12" in text and text.endswith("--network=host .")


@pytest.mark.parametrize(
    ("platform", "machine", "given", "name"),
    [
        (None, "x86_64", {}, "x86-64-v3"),
        (None, "aarch64", {}, "generic"),
        ("linux/arm64", "x86_64", {}, "generic"),
        ("linux/arm64/v8", "x86_64", {}, "generic"),
        ("linux/amd64", "aarch64", {}, "x86-64-v3"),
        (None, "x86_64", {"NUMBA_CPU_NAME": "x86-64-v2"}, "x86-64-v2"),
    ],
)
def test_compiled_code_is_for_the_architecture_of_the_image(
    platform: str | None, machine: str, given: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "machine", lambda: machine)
    line = command("podman", "tls", base=None, registry="r", at="a", environment=given, extra=[], platform=platform)
    text = " ".join(line)
    assert f"--build-arg NUMBA_CPU_NAME={name} " in text
    assert ("--platform" in text) is (platform is not None)


def test_compiled_code_does_not_depend_on_the_machine_that_builds() -> None:
    """numba files compiled code by the features of the CPU: those of the building machine must not be among them."""
    text = (Path(__file__).parents[2] / "infra" / "images" / "Containerfile").read_text()
    found = dict(re.findall(r"^ +(NUMBA_CPU_\w+)=(\S*)", text, re.MULTILINE))
    assert found == {"NUMBA_CPU_NAME": "$NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES": '""'}
    code = "from numba.core.registry import cpu_target as t; print(t.target_context.codegen().magic_tuple()[1:])"
    environment = os.environ | {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": found["NUMBA_CPU_FEATURES"][1:-1]}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "('x86-64-v3', '')", done.stderr


def test_the_containerfile_has_every_target() -> None:
    text = (Path(__file__).parents[2] / "infra" / "images" / "Containerfile").read_text()
    for target, extras in TARGETS.items():
        assert f" AS {target}\n" in text
        assert not extras or f"/opt/tools/bin/install {' '.join(extras)}\n" in text


def test_the_page_names_each_image_that_needs_a_compiler_on_arm() -> None:
    """batman has no wheel for Linux on 64-bit Arm."""
    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    with_batman = {
        f"`eas-{target}`"
        for target, names in TARGETS.items()
        if any(each.startswith("batman-package") for name in names for each in extras[name])
    }
    text = " ".join((root / "docs" / "how_to" / "kubernetes.md").read_text().split())
    (sentence,) = re.findall(r"([^.]*) need a `BASE_IMAGE` with a C compiler there", text)
    assert set(re.findall(r"`eas-[a-z-]+`", sentence)) == with_batman


def test_a_package_may_compile_slowly_where_another_architecture_is_emulated(tmp_path: Path) -> None:
    (tool := tmp_path / "fetch").write_text('#!/bin/sh\necho "$UV_COMPILE_BYTECODE_TIMEOUT $*"\n')
    script = (Path(__file__).parents[2] / "infra" / "images" / "install.sh").read_text()
    script = script.replace("/opt/tools/bin/fetch", str(tool))
    for given, wanted in (({}, "600"), ({"UV_COMPILE_BYTECODE_TIMEOUT": "60"}, "60")):
        done = subprocess.run(
            ["sh", "-c", script, "install", "tls"], env=os.environ | given, capture_output=True, text=True
        )
        assert done.stdout.startswith(f"{wanted} /opt/tools/bin/uv pip install"), done.stderr
        assert done.stdout.endswith("--extra tls\n")
