"""Check that the Prefect server records all task runs of a large chain that the flow reports.

    python -m benchmarks.prefect_rows --leaves 5000 [--max-task-runs 6000]

Starts a temporary server (through ``eas run``) and one worker, and prints counts and time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import create_engine, text


def chain_of(leaves: int) -> dict[str, object]:
    """Return a chain of ``leaves`` empty tasks."""
    body = [{"task": "null", "duration": 0}]
    loop = {"task": "execution_for_loop", "parameter": "i", "values": list(range(leaves)), "task_list": body}
    return {"job_name": "rows", "working_directory": "rows", "task_list": [loop]}


def run(folder: Path, leaves: int, max_task_runs: int) -> dict[str, object]:
    """Run the chain in ``folder``; return the number of task runs in the flow's log and in the server's database."""
    path = folder / "rows.json"
    path.write_text(json.dumps(chain_of(leaves)), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("EAS_", "PREFECT_"))}
    environment["EAS_HOME"] = str(folder / "eas-data")
    command = [sys.executable, "-m", "eas", "run", str(path), "--workers", "1", "--max-task-runs", str(max_task_runs)]
    began = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    return {"leaves": leaves, "seconds": round(seconds, 1)} | counts(folder / "eas-data" / "prefect" / "prefect.db")


def counts(database: Path) -> dict[str, object]:
    """Return the number of task runs in the flow's log, and in the server's database by state."""
    engine = create_engine(f"sqlite:///{database}")
    with engine.connect() as connection:
        said = connection.execute(text("SELECT message FROM log WHERE message LIKE '%Prefect task runs'")).scalar_one()
        rows = connection.execute(text("SELECT state_type, count(*) FROM task_run GROUP BY state_type")).all()
    engine.dispose()
    found = re.search(r"(\d+) Prefect task runs", said)
    assert found
    states = {row[0]: row[1] for row in rows}
    return {"said": int(found[1]), "recorded": sum(states.values()), "states": states}


def main() -> int:
    """Run the chain and print the counts; return 1 if they differ or a task run is not completed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--leaves", type=int, default=5000)
    parser.add_argument("--max-task-runs", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), options.leaves, options.max_task_runs)
    print(json.dumps(result))
    return int(result["said"] != result["recorded"] or set(result["states"]) != {"COMPLETED"})  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())
