"""Services of another Debian release: what `make services SUITE=...` says where they cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.services import debian, service_state
from tests.processes import ROOT


def services(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"EAS_SERVICES_DIR": str(folder), "EAS_SERVICES_SUITE": ""}
    command = [sys.executable, "-m", "infra.services", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_suite_that_is_not_known_is_refused(tmp_path: Path) -> None:
    done = services(tmp_path, "start", "--suite", "nowhere")
    assert (done.returncode, done.stdout) == (3, "")
    assert "unknown suite 'nowhere'; available: trixie, sid" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_services_of_a_suite_are_beside_those_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAS_SERVICES_DIR", str(tmp_path))
    monkeypatch.delenv("EAS_SERVICES_SUITE", raising=False)
    assert (service_state.folder(), service_state.root()) == (tmp_path, None)
    monkeypatch.setenv("EAS_SERVICES_SUITE", "sid")
    monkeypatch.setenv("EAS_FRESH_DIR", str(tmp_path / "roots"))
    assert (service_state.folder(), service_state.root()) == (tmp_path / "sid", tmp_path / "roots" / "sid.services")
    done = services(tmp_path, "status", "--suite", "sid")
    assert "MySQL: does not run" in done.stdout and done.returncode == 3


@pytest.mark.skipif(not debian.can_enter(), reason="this machine allows no mount namespaces")
def test_a_command_in_a_root_keeps_its_process_and_sees_the_shared_folder(tmp_path: Path) -> None:
    root, shared = tmp_path / "root", tmp_path / "shared"
    for name in ("proc", "dev"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "usr"):  # this machine's programs, by their real places
        if Path("/", name).is_symlink():
            (root / name).symlink_to(Path("/", name).readlink())
    (root / "usr").mkdir(exist_ok=True)
    shared.mkdir()
    (shared / "note").write_text("seen")
    mounted = f'mount --bind /usr {root}/usr && exec "$@"'
    command = debian.command_in_root(
        root, shared, ["/bin/sh", "-c", f"cat {shared}/note; echo $$; ls -d {root} || true"]
    )
    process = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", mounted, "sh", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert output.split("\n")[0] == f"seen{process.pid}"
    assert "No such file" in errors, "the root of this machine is out of sight"
    assert not (root / str(shared).lstrip("/") / "note").exists(), "mounts end with the command"
