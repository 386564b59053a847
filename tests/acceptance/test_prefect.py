"""The README's section "With a Prefect server", and what operators do then: real server, real processes.

The tests share one server and run in the order in which they stand here.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from eas import registry
from flows.automations import AUTOMATION_NAMES, HEARTBEAT_TIMEOUT, NAME
from tests.acceptance.conftest import COMBINATIONS, Home, services_of
from tests.acceptance.prefect_installation import PREFIX, PrefectInstallation, flow_run_id, section
from tests.processes import MAX_TIMEOUT, TIMEOUT, clean_environment, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(MAX_TIMEOUT)]

README = section("With a Prefect server")
SETUP = README[: 1 + next(place for place, line in enumerate(README) if "worker start" in line)]

EAS_FLOWS = (
    "run-chain cancel-job reschedule-unfinished schedule-waiting-tasks scale-workers init empty-queue pause-queue "
    "resume-queue save-database restore-database prune-database report-progress report-pass-fail report-timings "
    "report-errors report-job-tree report-queue"
)


# Five minutes for each combination: the continuous integration takes the embedded default.
STATIONS = COMBINATIONS if os.environ.get("EAS_TEST_COMBINATIONS") == "all" else COMBINATIONS[:1]


@pytest.fixture(scope="module", params=STATIONS)
def station(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectInstallation]:
    with services_of(request.param, request) as environment, _station(tmp_path_factory, environment) as there:
        yield there


@contextmanager
def _station(tmp_path_factory: pytest.TempPathFactory, services: dict[str, str]) -> Iterator[PrefectInstallation]:
    folder = tmp_path_factory.mktemp("station")
    environment = clean_environment() | services
    environment |= {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "EAS_HOME": str(folder / "eas-data"),
    }
    there = PrefectInstallation(Home(folder, environment))
    try:
        for command in SETUP:
            there.run_readme_command(command)
        yield there
    finally:
        there.close()


@pytest.fixture(scope="module")
def services(station: PrefectInstallation, killed_run: tuple[int, str]) -> dict[str, str]:
    """The README's two services, less patient than there; by deployment their flow runs.

    They start after a run was killed: the supervisor takes every job that no process drives.
    """
    given = {line.split()[-1]: line for line in README if line.split()[-1] in SERVICES}
    assert set(given) == set(SERVICES)
    return {
        name: flow_run_id(station.run_readme_command(" ".join([line, *SERVICES[name]]))) for name, line in given.items()
    }


SERVICES = {
    "schedule-waiting-tasks/eas": (),
    "scale-workers/eas": ("--param every=3", "--param idle_exit=6", "--param maximum=2"),
}


@pytest.fixture(scope="module")
def killed_run(station: PrefectInstallation) -> tuple[int, str]:
    """A job whose flow run's process was killed, while no Prefect worker looked after it."""
    chain = station.home.chain(loop(100, duration=0.5), name="killed")
    process = station.home.start("run", chain, "--workers", "1")
    begun = "SELECT DISTINCT job_id FROM tasks WHERE job_name='killed' AND task_type='null' AND state='done'"
    try:
        (row,) = wait_for(lambda: station.home.rows(begun), "a first task of the run")
        # Tasks run before Prefect knows of the flow run.
        (run,) = wait_for(lambda: running(station.runs_of_job(row.job_id)), "the flow run")
        # A run that never sent a heartbeat is not missed.
        wait_for(lambda: heartbeats(station, run["id"]), "a heartbeat of the flow run")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return row.job_id, run["id"]


def heartbeats(station: PrefectInstallation, run: str) -> list[dict[str, Any]]:
    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return list(station.ask("/events/filter", filter=wanted)["events"])


def running(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in runs if each["state_type"] == "RUNNING"]


def loop(values: int, duration: float) -> dict[str, Any]:
    body = [{"task": "null", "duration": duration}]
    return {"task": "execution_for_loop", "parameter": "i", "values": list(range(values)), "task_list": body}


def deployments(station: PrefectInstallation) -> dict[str, dict[str, Any]]:
    flows = {each["id"]: each["name"] for each in station.ask("/flows/filter")}
    return {f"{flows[each['flow_id']]}/{each['name']}": each for each in station.ask("/deployments/filter")}


def essence(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    names = ("id", "parameters", "work_queue_name", "job_variables", "tags", "description", "parameter_openapi_schema")
    return {name: {key: each[key] for key in names} for name, each in found.items()}


def test_deploying_twice_changes_nothing(station: PrefectInstallation) -> None:
    before, automations = deployments(station), station.ask("/automations/filter")
    (again,) = [line for line in SETUP if "deploy --all" in line]
    station.run_readme_command(again)
    assert essence(deployments(station)) == essence(before)
    assert [each["id"] for each in station.ask("/automations/filter")] == [each["id"] for each in automations]
    assert {each["name"] for each in automations} == {NAME, *AUTOMATION_NAMES.values()}


def test_every_deployment_is_there_and_described(station: PrefectInstallation) -> None:
    found = deployments(station)
    tasks = registry.load().task_types.values()
    types = {each.worker_type for each in tasks if each.implementation}
    assert set(found) == {f"{name}/eas" for name in EAS_FLOWS.split()} | {f"work/{name}" for name in types}
    for name, each in found.items():
        assert each["enforce_parameter_schema"], name
        assert each["description"], name
        assert "eas" in each["tags"], name
        assert each["work_pool_name"] == "eas-local"
        properties = each["parameter_openapi_schema"]["properties"]
        assert all("description" in one for one in properties.values()), name
    for name in types:
        assert found[f"work/{name}"]["work_queue_name"] == name
    supervisor = found["schedule-waiting-tasks/eas"]
    assert supervisor["global_concurrency_limit"] is None, "a lost slot would cancel it; it has a lease in SQL"


def test_the_settings_are_saved_as_blocks_twice(station: PrefectInstallation) -> None:
    for _ in range(2):
        assert "eas-database/mine" in station.home.eas("blocks", "save", "--name", "mine").stdout
    saved = station.ask("/block_documents/filter", block_documents={"name": {"like_": "mine"}})
    assert sorted(each["block_type"]["slug"] for each in saved) == ["eas-database", "eas-file-store", "eas-job-queue"]


def test_reports_are_scheduled(station: PrefectInstallation) -> None:
    of_report = {"flows": {"name": {"any_": ["report-progress"]}}}
    planned = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    wait_for(lambda: station.ask("/flow_runs/count", **of_report, **planned), "the server to plan ahead")


def test_a_parameter_out_of_bounds_is_refused(station: PrefectInstallation) -> None:
    with pytest.raises(AssertionError, match="minimum"):
        station.run("scale-workers/eas", minimum=-1)


def test_the_readmes_chain_shows_its_progress_and_its_summary(station: PrefectInstallation) -> None:
    (command,) = [line for line in README if "run-chain/eas" in line]
    run = flow_run_id(station.run_readme_command(command))
    over = station.ended(run)
    assert over["state"]["message"] == "job 1: 42 of 42 tasks done"
    assert over["name"] == "detection_limit (job 1)"
    assert {"eas", "job-1"} <= set(over["tags"])
    progress = station.artifact("job-detection-limit-progress")
    assert (progress["type"], float(progress["data"])) == ("progress", 100.0)
    summary = station.artifact("job-detection-limit-summary")
    assert summary["flow_run_id"] == run
    text = str(summary["data"])
    assert "| `transit_search_bls_reference` | 14 |" in text
    assert text.count("data:image/png;base64,") >= 2
    listed = [Path(path) for path in re.findall(r"- `([^`]+)`", text)]
    assert {"progress.csv", "timings.csv", "pass_fail.csv", "timeline.png"} <= {path.name for path in listed}
    assert all(path.is_file() for path in listed)


def test_the_server_has_all_task_runs_that_the_flow_opened(station: PrefectInstallation) -> None:
    chain = station.home.chain(loop(120, duration=0), name="many")
    station.home.eas("run", chain, "--workers", "1")
    (run,) = station.ask("/flow_runs/filter", flow_runs={"name": {"like_": "many (job"}})
    of_run = {"flow_run_id": {"any_": [run["id"]]}}

    def said() -> str | None:
        found = [each["message"] for each in station.ask("/logs/filter", logs=of_run, sort="TIMESTAMP_DESC")]
        return next((text for text in found if "Prefect task runs" in text), None)

    opened = int(re.findall(r"(\d+) Prefect task runs", wait_for(said, "the flow to say how many"))[0])
    assert opened > 120
    wait_for(lambda: station.count_task_runs(run["id"], ["COMPLETED"]) == opened, "all to be recorded as completed")
    assert station.count_task_runs(run["id"]) == opened


def test_services_run_what_is_submitted_and_workers_come_and_go(
    station: PrefectInstallation, services: dict[str, str]
) -> None:
    jobs = [station.submit(station.home.chain(loop(10, duration=2), name=f"job{number}")) for number in range(3)]
    (command,) = [line for line in README if " submit " in line]
    jobs.append(int(station.home.eas("submit", Path(command.split()[-1]).absolute()).stdout))
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, len(station.home.rows("SELECT id FROM workers WHERE state='alive'")))
        return all(station.job_state(job) == "done" for job in jobs)

    wait_for(done, f"the jobs {jobs}", 2 * TIMEOUT)
    assert most >= 2
    for job in jobs:
        (run,) = station.runs_of_job(job)
        assert station.ended(run["id"])["state_type"] == "COMPLETED"
        assert run["parent_task_run_id"], "it is part of the supervisor's run"
    table = station.artifact("scale-workers")
    assert table["flow_run_id"] == services["scale-workers/eas"]
    assert "worker_type" in str(table["data"])

    wait_for_no_workers(station)
    work = {"flows": {"name": {"any_": ["work"]}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    wait_for(lambda: not station.ask("/flow_runs/filter", **work), "their flow runs to end")
    ended = station.ask("/flow_runs/filter", flows=work["flows"])
    assert {each["state_type"] for each in ended} == {"COMPLETED"}
    assert all("exited: " in each["state"]["message"] for each in ended)


def wait_for_no_workers(station: PrefectInstallation) -> None:
    wait_for(lambda: not station.home.rows("SELECT id FROM workers WHERE state='alive'"), "all workers to leave")


def test_a_second_supervisor_stands_by(station: PrefectInstallation, services: dict[str, str]) -> None:
    second = station.run("schedule-waiting-tasks/eas")
    wait_for(lambda: "standing by" in station.log(second), "the second supervisor to find the lease taken")
    assert station.flow_run(services["schedule-waiting-tasks/eas"])["state_type"] == "RUNNING"
    station.prefect("flow-run", "cancel", second)
    assert station.ended(second)["state_type"] == "CANCELLED"


def test_cancelling_a_flow_run_leaves_a_job_that_the_supervisor_goes_on_with(
    station: PrefectInstallation, services: dict[str, str]
) -> None:
    chain = station.home.chain(loop(20, duration=0.7), name="given_back")
    run = station.run("run-chain/eas", chain=str(chain), workers=1)
    begun = "SELECT job_id FROM tasks WHERE job_name='given_back' AND task_type='null' AND state='done' LIMIT 1"
    job = wait_for(lambda: station.home.rows(begun), "a first task")[0].job_id
    station.home.eas("queue", "pause", "null")  # however long Prefect takes, the job is not done before
    station.prefect("flow-run", "cancel", run)
    assert station.ended(run)["state_type"] == "CANCELLED"
    assert station.job_state(job) == "running"
    station.home.eas("queue", "resume", "null")
    wait_for(lambda: station.job_state(job) == "done", "the supervisor to finish the job")
    tries = station.home.rows(f"SELECT task_id, sum(state='done') AS good FROM attempts WHERE job_id={job} GROUP BY 1")
    assert [each.good for each in tries] == [1] * 20


def test_cancelling_a_job_ends_its_tasks_and_its_flow_run(
    station: PrefectInstallation, services: dict[str, str]
) -> None:
    job = station.submit(station.home.chain(loop(30, duration=3600), name="unwanted"))
    wait_for(lambda: station.home.rows(f"SELECT 1 FROM attempts WHERE job_id={job} AND state='running'"), "a task")
    (run,) = station.runs_of_job(job)
    over = station.ended(station.run("cancel-job/eas", job="unwanted"))
    assert over["state_type"] == "COMPLETED"
    assert station.job_state(job) == "cancelled"
    assert station.ended(run["id"])["state_type"] == "CANCELLED"
    states = station.home.rows(f"SELECT DISTINCT state FROM attempts WHERE job_id={job}")
    assert [each.state for each in states] == ["cancelled"]
    wait_for(lambda: station.count_task_runs(run["id"], ["PENDING", "RUNNING"]) == 0, "the task runs to end")
    # Workers leave when they are idle: none is kept by a task that takes an hour.
    wait_for_no_workers(station)


def test_a_killed_run_does_not_stay_running_and_its_job_is_done(
    station: PrefectInstallation, services: dict[str, str], killed_run: tuple[int, str]
) -> None:
    job, run = killed_run
    wait_for(lambda: station.job_state(job) == "done", "the supervisor to finish the job")
    over = station.ended(run)
    assert over["state_type"] == "CRASHED"
    assert f"no heartbeat for {HEARTBEAT_TIMEOUT:g} s" in over["state"]["message"]


@pytest.mark.parametrize("name", ["schedule-waiting-tasks/eas", "scale-workers/eas"])
def test_a_killed_service_is_started_again(station: PrefectInstallation, services: dict[str, str], name: str) -> None:
    """Here a Prefect worker lives and sees at once that its process is gone."""
    run = services[name]
    killed = station.flow_run(run)
    assert killed["state_type"] == "RUNNING"
    os.kill(pid_of(station, run), signal.SIGKILL)
    assert station.ended(run)["state_type"] == "CRASHED"

    def next_run() -> dict[str, Any] | None:
        runs = station.ask("/flow_runs/filter", deployments={"id": {"any_": [killed["deployment_id"]]}})
        running = (each for each in runs if each["id"] != run and each["state_type"] == "RUNNING")
        return next(running, None)

    again = wait_for(next_run, f"{name} to be started again")
    assert again["parameters"] == killed["parameters"]
    assert pid_of(station, again["id"])


def pid_of(station: PrefectInstallation, run: str) -> int:
    import psutil

    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run and process.status() != psutil.STATUS_ZOMBIE:
                return process.pid
        except psutil.Error:
            continue
    pytest.fail(f"no process runs the flow run {run}")


def test_every_prefect_command_of_the_readme_is_run_here() -> None:
    run_here = [*SETUP, *(line for line in README if "run-chain/eas" in line)]
    run_here += [line for line in README if line.split()[-1] in SERVICES]
    assert [line for line in README if line.startswith(PREFIX) and line not in run_here] == []
