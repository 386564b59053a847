"""Unusual environments make no difference, or an error that says what is wrong."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "größe \U0001f30d"
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    path = tmp_path / "chain.json"
    path.write_text(json.dumps({"job_name": NAME, "task_list": [{"task": "null"}]}))
    return path


def eas(
    folder: Path, *arguments: object, before: str = "", **environment: str | None
) -> subprocess.CompletedProcess[bytes]:
    given = {**os.environ, "EAS_HOME": str(folder / "home"), **environment}
    kept = {name: value for name, value in given.items() if value is not None}
    program = f"{before}\nimport eas.cli\neas.cli.main({list(map(str, arguments))!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=kept, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


@pytest.mark.parametrize("environment", [ASCII, {"PYTHONIOENCODING": "latin-1"}], ids=["ascii", "latin"])
def test_a_locale_without_the_characters_of_a_name_fails_nothing(
    environment: dict[str, str], chain: Path, tmp_path: Path
) -> None:
    assert eas(tmp_path, "submit", chain, **environment).returncode == 0
    assert eas(tmp_path, "report", "progress", **environment).returncode == 0
    found = json.loads(eas(tmp_path, "report", "progress", "--json", **environment).stdout)
    assert found[0]["job_name"] == NAME
    assert NAME in eas(tmp_path, "report", "progress", "--csv", "-", **environment).stdout.decode("utf-8")


def test_no_home_is_needed(chain: Path, tmp_path: Path) -> None:
    assert eas(tmp_path, "submit", chain, HOME=None, USER=None, LOGNAME=None).returncode == 0


def test_a_strict_umask_makes_no_difference(chain: Path, tmp_path: Path) -> None:
    assert eas(tmp_path, "submit", chain, before="import os; os.umask(0o077)").returncode == 0
    assert eas(tmp_path, "report", "progress").returncode == 0


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"EAS_HOME": "/proc/nowhere"}, b"No such file or directory: "),
        ({"EAS_HOME": "/etc/passwd"}, b"Not a directory"),
    ],
)
def test_a_home_that_cannot_be_used_is_named(
    environment: dict[str, str], message: bytes, chain: Path, tmp_path: Path
) -> None:
    done = eas(tmp_path, "submit", chain, **environment)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert b"  -> " in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_home_is_named(chain: Path, tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = eas(tmp_path, "submit", chain)
    tmp_path.chmod(stat.S_IRWXU)
    assert done.returncode == 1
    assert b"Permission denied" in done.stderr


LIMITED = """
import eas.cli.chains, eas.app, eas.operations.submit, eas.cli.output, eas.cli.system_errors, eas.registry, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""


def test_too_few_file_descriptors_are_named(chain: Path, tmp_path: Path) -> None:
    done = eas(tmp_path, "validate", chain, before=LIMITED)
    assert done.returncode in (1, 2)
    assert b"Too many open files" in done.stderr
    assert b"  -> " in done.stderr


LITTLE_MEMORY = """
import eas.cli.chains, eas.app, eas.operations.submit, eas.registry, resource
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 4_000_000,) * 2)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_too_little_memory_is_named(chain: Path, tmp_path: Path) -> None:
    chain.write_text(json.dumps({"task_list": [{"task": "null", "duration": number} for number in range(50_000)]}))
    done = eas(tmp_path, "validate", chain, before=LITTLE_MEMORY)
    assert done.returncode == 1
    assert b"there is not enough memory\n  -> free memory" in done.stderr
