"""A whole run (supervisor, worker, task's child) where the system gives little: no difference, or a hint."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.processes import MAX_TIMEOUT, ROOT, clean_environment
from tests.unit.test_environments import ASCII

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

CHAIN = {
    "job_name": "scarce",
    "working_directory": "wd",
    "task_list": [
        {"task": "multiply", "inputs": {"lightcurve_1": "a.gz", "lightcurve_2": "a.gz"},
         "outputs": {"lightcurve": "b.gz"}},
        {"task": "synthesis_batman", "specs": {"duration": 5, "sampling_cadence": 600, "orbital_period": 2},
         "outputs": {"lightcurve": "a.gz"}},
    ],
}  # fmt: skip
RUN = ("schedule", "--workers", "1", "--until-idle", "1")
USER = 60_123
"""A user that is in no list of users, owns nothing of the source tree, and may read everything."""
AS_USER = (
    "setpriv", "--securebits=+no_setuid_fixup", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
    "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
)  # fmt: skip
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root becomes another user"
)


def can_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "chain.json").write_text(json.dumps(CHAIN), encoding="utf-8")
    for path in (tmp_path, tmp_path / "home"):
        if os.geteuid() == 0:
            os.chown(path, USER, USER)
    return tmp_path


def eas(
    folder: Path, *arguments: str, before: Sequence[str] = (), **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command in an environment without ``HOME`` and user; fail if it shows a traceback."""
    given = clean_environment() | {"EAS_HOME": str(folder / "home"), "TMPDIR": str(folder)} | environment
    given |= {name: None for name in ("HOME", "USER", "LOGNAME") if name not in environment}
    done = subprocess.run(
        [*before, sys.executable, "-P", "-m", "eas", *arguments],
        cwd=folder, env={name: value for name, value in given.items() if value is not None},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def submit(folder: Path, **options: str) -> None:
    done = eas(folder, "submit", "chain.json", **options)
    assert done.returncode == 0, done.stderr


def explains(done: subprocess.CompletedProcess[str], what: str, hint: str) -> None:
    assert done.returncode in (1, 3), done.stderr
    assert what in done.stderr and "  -> " in done.stderr and hint in done.stderr, done.stderr


ENVIRONMENTS = {
    "another user, who may not write to the source tree": (AS_USER, {}),
    "a strict umask": (("sh", "-c", 'umask 077; exec "$@"', "sh"), {}),
    "an ASCII locale": ((), ASCII),
    "few file descriptors": (("prlimit", "--nofile=40:40"), {}),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_whole_run_makes_no_difference(folder: Path, name: str) -> None:
    before, environment = ENVIRONMENTS[name]
    if before == AS_USER:
        if os.geteuid() != 0:
            pytest.skip("only root becomes another user")
        written = subprocess.run([*AS_USER, "touch", ROOT / "eas" / "written"], capture_output=True)
        assert written.returncode != 0
    done = eas(folder, "submit", "chain.json", before=before, **environment)
    assert done.returncode == 0, done.stderr
    done = eas(folder, *RUN, before=before, **environment)
    assert done.returncode == 0 and "1 jobs done, 0 failed" in done.stdout, done.stderr
    # The next process of the same user reads what these have written.
    found = eas(folder, "report", "progress", "--json", before=before, **environment)
    done_tasks = {row["task_type"]: row["done"] for row in json.loads(found.stdout)}
    assert (done_tasks["multiply"], done_tasks["synthesis_batman"]) == (1, 1)


@needs_root
@pytest.mark.parametrize("processes", [1, 3])
def test_too_few_processes_are_named(folder: Path, processes: int) -> None:
    submit(folder, before=AS_USER)
    done = eas(folder, *RUN, before=[*AS_USER, "prlimit", f"--nproc={processes}:{processes}"])
    explains(done, "error: ", "allow more processes (`ulimit -u`)")
    assert "Resource temporarily unavailable" in done.stderr or "no thread can be started" in done.stderr


@pytest.mark.skipif(not can_mount(), reason="this machine allows no mount namespaces")
@pytest.mark.parametrize("what", ["home", "store"])
def test_a_full_disk_is_named(folder: Path, what: str) -> None:
    """A file system of one page, in a namespace that ends with the command."""
    full = folder / "full"
    full.mkdir()
    script = 'mount -t tmpfs -o size=4k tmpfs "$0" && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", script, str(full)]
    if what == "home":
        done = eas(folder, "submit", "chain.json", before=before, EAS_HOME=str(full))
        explains(done, "disk", "free disk space")
        return
    submit(folder)
    done = eas(folder, *RUN, before=before, EAS_DATA_DIR=str(full))
    assert done.returncode == 1 and "0 jobs done, 1 failed" in done.stdout, done.stderr
    found = eas(folder, "report", "errors", "--json", before=before, EAS_DATA_DIR=str(full))
    assert "No space left on device" in found.stdout


@pytest.mark.parametrize("size", [1, 20_000])
def test_files_that_may_not_grow_are_named(folder: Path, size: int) -> None:
    done = eas(folder, "submit", "chain.json", before=["prlimit", f"--fsize={size}:{size}"])
    explains(done, "error: ", "ulimit -f")
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert soft != size, "of that process alone"
    submit(folder)  # the same folder serves once there is room
    with closing(sqlite3.connect(folder / "home" / "eas.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchall() == [(1,)]
