"""``import eas`` in a process of its own, as a script or notebook uses it, on every database and queue."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.acceptance.conftest import Home
from tests.processes import MAX_TIMEOUT, TIMEOUT

pytestmark = pytest.mark.timeout(MAX_TIMEOUT)

SCRIPT = """
import eas

chain = eas.chain(
    [eas.for_loop("i", [eas.task("null", duration=0)], values=[1, 2, 3]), eas.task("error", name="broken")],
    job_name="script",
)
job = eas.submit(chain)
summary = job.run(workers=1, progress=True)
assert summary.state == "failed", summary
assert job.progress().set_index("task_type").loc["null", "done"] == 3
assert job.timings()["started"].notna().all()
assert job.tasks(i=2)["state"].tolist() == ["done"]
assert "Traceback" in job.task("broken").log(level="error")["traceback"].iloc[0]
assert job.reschedule().total == 1
assert job.run(workers=1).state == "failed"
assert len(job.errors()) == 2
assert eas.job("script") == job
print("ended well")
"""


def test_a_script_submits_runs_and_looks(plain_home: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", SCRIPT],
        cwd=plain_home.folder, env=plain_home.environment, capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "ended well"


def test_a_job_waits_for_the_supervisor_of_another_process(plain_home: Home) -> None:
    supervisor = plain_home.start("schedule", "--workers", "1")
    try:
        script = (
            "import eas; job = eas.submit({'job_name': 'other', 'task_list': [{'task': 'null', 'duration': 0}]}); "
            f"assert job.wait(timeout={TIMEOUT}).succeeded"
        )
        subprocess.run([sys.executable, "-P", "-c", script], cwd=plain_home.folder, env=plain_home.environment,
                       check=True, timeout=TIMEOUT)  # fmt: skip
    finally:
        supervisor.terminate()
        supervisor.communicate(timeout=TIMEOUT)
