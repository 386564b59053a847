"""Setting up ``.venv``: which Pythons, what to do without a compiler, and when nothing is to be done."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra import bootstrap
from tests.processes import ROOT

LOCK_FILES = sorted({*bootstrap.LOCKS.values(), "requirements-peers.txt", "requirements-sbom.txt"})
ADDRESS_OR_OPTION = re.compile(r"://|^-", re.MULTILINE)
"""An address, or a line that is an option of pip: a lock has neither."""


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 4), (3, 13, 5), (3, 14, 1)])
def test_pythons_that_are_supported(version: tuple[int, int, int]) -> None:
    assert bootstrap.supported(version)


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 10, 12), (3, 15, 0), (4, 0, 0)])
def test_pythons_that_are_not(version: tuple[int, int, int]) -> None:
    assert not bootstrap.supported(version)


def test_the_package_metadata_name_the_same_pythons() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11,<3.15"' in text
    assert [f"Python :: 3.{minor}" in text for minor in (10, 11, 12, 13, 14, 15)] == [False, *[True] * 4, False]


@pytest.mark.parametrize("name", LOCK_FILES)
def test_locks_have_hashes_and_no_index_address(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    packages = re.findall(r"^[a-z0-9][^\n]*==[^\n]*$", text, re.MULTILINE)
    assert len(packages) > (100 if name in bootstrap.LOCKS.values() else 20)
    assert all(line.endswith("\\") for line in packages), "a package without hashes"
    assert not ADDRESS_OR_OPTION.search(text)


def test_what_runs_chains_is_locked_at_the_versions_that_are_tested() -> None:
    everything = set(re.findall(r"^\S+==\S+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
    running = set(re.findall(r"^\S+==\S+", (ROOT / "requirements-run.txt").read_text(encoding="utf-8"), re.MULTILINE))
    assert running < everything


def test_one_package_can_be_left_out_of_a_lock() -> None:
    kept = ["# made by uv\n", "a==1 \\\n", "    --hash=sha256:00\n", "c==3\n"]
    package = ["batman-package==2 \\\n", "    --hash=sha256:11\n", "    --hash=sha256:22\n"]
    assert bootstrap.without("".join(kept[:3] + package + kept[3:]), "batman-package") == "".join(kept)


def test_an_environment_for_the_tests_serves_the_demo_too(tmp_path: Path) -> None:
    assert not bootstrap.is_current(tmp_path, "run")
    (tmp_path / ".dev").write_text(bootstrap.fingerprint("dev"), encoding="ascii")
    assert bootstrap.is_current(tmp_path, "run")
    assert bootstrap.is_current(tmp_path, "dev")


def test_an_environment_for_the_demo_does_not_serve_the_tests(tmp_path: Path) -> None:
    (tmp_path / ".run").write_text(bootstrap.fingerprint("run"), encoding="ascii")
    assert bootstrap.is_current(tmp_path, "run")
    assert not bootstrap.is_current(tmp_path, "dev")


def test_a_changed_lock_is_noticed(tmp_path: Path) -> None:
    (tmp_path / ".run").write_text("another lock", encoding="ascii")
    assert not bootstrap.is_current(tmp_path, "run")


def test_a_missing_compiler_is_said_in_one_line_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def fail_to_build(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        failed = command[-1] == "requirements-run.txt"
        return subprocess.CompletedProcess(command, int(failed), stderr=b"Failed to build `batman-package==2.5.3`")

    monkeypatch.setattr(subprocess, "run", fail_to_build)
    monkeypatch.setattr("shutil.which", lambda _: None)
    bootstrap.install_packages(tmp_path, "requirements-run.txt")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "compiler" in line]
    assert "synthesis_batman" in line
    assert "apt-get install gcc" in line
    assert "batman-package" not in (tmp_path / "without-compiler.txt").read_text(encoding="utf-8")
    assert commands[1][-1] == str(tmp_path / "without-compiler.txt")


def test_an_index_that_cannot_be_reached_is_an_error_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 1, stderr=b"error: failed to fetch")

    monkeypatch.setattr(subprocess, "run", unreachable)
    with pytest.raises(bootstrap.SetupError, match="package index can be reached"):
        bootstrap.install_packages(tmp_path, "requirements-run.txt")


def test_an_unsupported_python_lets_uv_fetch_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def note(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        if "venv" in command[1:3]:  # what uv and venv would make
            folder = Path(command[-1]) / "bin"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "uv").touch()
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", note)
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    bootstrap.make_environment(tmp_path / ".venv")
    assert "Python 3.9.2 is not supported (3.11 to 3.14 are): uv downloads Python 3.13" in capsys.readouterr().out
    assert commands[-1][1:3] == ["venv", "--quiet"]
    assert commands[-1][-3:-1] == ["--python", "3.13"]
    assert not (tmp_path / ".venv-uv").exists()
