"""Metrics from SQL: one suite for sqlite and MariaDB, read with the client's own parser."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, update

from eas import metrics, registry
from eas.errors import RequestError
from eas.metrics import SystemCollector, endpoint
from eas.model import Usage
from eas.operations.init import initialise
from eas.states import AttemptState
from eas.taskdb import results, stalls, tables
from eas.taskdb.attempt_claims import AttemptClaims
from eas.taskdb.engine import TaskDatabase
from eas.taskdb.service_lease import SUPERVISOR, ServiceLease
from tests.contract.chains import claim_these, new_worker, queue_tasks, result
from tests.contract.engines import EngineContract

Samples = dict[tuple[str, tuple[str, ...]], float]
LEASE = 300.0


LABELS = ("task_type", "worker_type", "service", "le", "outcome", "state")


def _place(label: tuple[str, str]) -> int:
    return LABELS.index(label[0]) if label[0] in LABELS else len(LABELS)


def samples(text: str) -> Samples:
    """Return the samples of an exposition by name and label values, each of which may occur once."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            key = (each.name, tuple(value for _, value in sorted(each.labels.items(), key=_place)))
            assert key not in found, "Prometheus refuses an exposition with two values of one sample"
            found[key] = each.value
    return found


class MetricsContract(EngineContract):
    @pytest.fixture
    def collector(self, database: TaskDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[CollectorRegistry]:
        initialise(database, registry.load())
        monkeypatch.setattr(metrics, "MIN_SNAPSHOT_INTERVAL", 0.0)
        monkeypatch.setattr(metrics, "MAX_READ_SHARE", 1e9)
        found = CollectorRegistry()
        found.register(SystemCollector(database, LEASE))
        yield found

    def read(self, collector: CollectorRegistry) -> Samples:
        return samples(generate_latest(collector).decode())

    def finish(self, database: TaskDatabase, attempt: int, state: AttemptState, wall: float) -> None:
        claims = AttemptClaims(database)
        assert claim_these(claims.database, "w", [attempt])
        ended = result(attempt, state, usage=Usage(wall=wall))
        database.transact(lambda c: results.finish(c, "w", [ended], database.now()))

    def test_an_empty_database(self, collector: CollectorRegistry) -> None:
        found = self.read(collector)
        assert found["eas_database_up", ()] == 1
        assert found["eas_jobs", ("submitted",)] == 0
        assert found["eas_service_alive", ("supervisor",)] == 0
        assert ("eas_service_lease_age_seconds", ("supervisor",)) not in found

    def test_tasks_queues_workers_and_leases(self, database: TaskDatabase, collector: CollectorRegistry) -> None:
        new_worker(database, "w")
        queued = queue_tasks(database, ["null", "null", "error"])
        queue_tasks(database, ["verify"], available_at=database.now() + 1000)
        claim_these(database, "w", [queued[0].attempt_id])
        ServiceLease(database, SUPERVISOR).hold()
        long_ago = database.now() - 100
        aged = update(tables.attempts).where(tables.attempts.c.id == queued[1].attempt_id).values(queued_at=long_ago)
        database.transact(lambda c: c.execute(aged).rowcount)
        found = self.read(collector)
        assert found["eas_jobs", ("submitted",)] == found["eas_jobs_undriven", ()] == 2
        assert found["eas_tasks", ("null", "queued")] == 1
        assert found["eas_tasks", ("null", "running")] == 1
        assert found["eas_queue_depth", ("null",)] == 1
        assert found["eas_queue_running", ("null",)] == 1
        assert found["eas_queue_depth", ("verify",)] == 0, "it is not due yet"
        assert found["eas_queue_oldest_seconds", ("null",)] == pytest.approx(100, abs=20)
        assert found["eas_queue_oldest_seconds", ("verify",)] == 0
        assert found["eas_workers", ("eas-base", "busy")] == 1
        assert found["eas_service_alive", ("supervisor",)] == 1
        assert found["eas_service_lease_age_seconds", ("supervisor",)] < 20

    def test_a_queue_is_that_of_all_jobs(self, database: TaskDatabase, collector: CollectorRegistry) -> None:
        queue_tasks(database, ["null"])
        queue_tasks(database, ["null", "null"])
        found = self.read(collector)
        assert found["eas_queue_depth", ("null",)] == 3
        assert found["eas_queue_paused", ("null",)] == 0

    def test_outcomes_and_durations_stay_when_their_job_is_over(
        self, database: TaskDatabase, collector: CollectorRegistry
    ) -> None:
        new_worker(database, "w")
        self.read(collector)
        first, second, third = queue_tasks(database, ["null", "null", "null"])
        self.finish(database, first.attempt_id, AttemptState.DONE, 0.25)
        self.finish(database, second.attempt_id, AttemptState.FAILED, 30.0)
        claim_these(database, "w", [third.attempt_id])
        database.transact(lambda c: stalls.reap_workers(c, ["w"], database.now()))
        for state in ("running", "failed", "failed", "running"):
            job = update(tables.jobs).values(state=state)
            database.transact(lambda c, job=job: c.execute(job).rowcount)  # type: ignore[misc]
            found = self.read(collector)
            outcomes = {labels[1]: value for (name, labels), value in found.items() if name == "eas_attempts_total"}
            assert outcomes == {"done": 1, "failed": 1, "stalled": 1}, state
        within = {
            labels[1]: value for (name, labels), value in found.items() if name == "eas_attempt_duration_seconds_bucket"
        }
        assert (within["0.1"], within["0.5"], within["15.0"], within["60.0"], within["+Inf"]) == (0, 1, 1, 2, 2)
        assert found["eas_attempt_duration_seconds_sum", ("null",)] == pytest.approx(30.25)
        assert found["eas_attempt_duration_seconds_count", ("null",)] == 2

    def test_a_job_that_came_and_went_between_two_looks_is_counted_and_an_old_one_is_not(
        self, database: TaskDatabase, collector: CollectorRegistry
    ) -> None:
        new_worker(database, "w")
        over = update(tables.jobs).values(state="done")

        def whole_job() -> None:
            (queued,) = queue_tasks(database, ["null"])
            self.finish(database, queued.attempt_id, AttemptState.DONE, 1.0)
            database.transact(lambda c: c.execute(over).rowcount)

        whole_job()
        assert ("eas_attempts_total", ("null", "done")) not in self.read(collector)
        whole_job()
        assert self.read(collector)["eas_attempts_total", ("null", "done")] == 1
        assert self.read(collector)["eas_attempts_total", ("null", "done")] == 1

    def test_a_look_takes_few_statements_however_many_jobs_there_are(
        self, database: TaskDatabase, collector: CollectorRegistry
    ) -> None:
        self.read(collector)
        statements: list[str] = []

        def count(_: object, __: object, statement: str, *rest: object) -> None:
            statements.append(statement)

        event.listen(database._reader, "before_cursor_execute", count)
        counts = []
        for _ in range(2):
            for _ in range(10):
                queue_tasks(database, ["null", "verify"])
            statements.clear()
            self.read(collector)
            counts.append(len([each for each in statements if each.lstrip().upper().startswith("SELECT")]))
        event.remove(database._reader, "before_cursor_execute", count)
        assert counts[0] == counts[1] <= 10

    def test_a_snapshot_is_kept_for_a_while(
        self, database: TaskDatabase, collector: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(metrics, "MIN_SNAPSHOT_INTERVAL", 1000.0)
        self.read(collector)
        queue_tasks(database, ["null"])
        assert self.read(collector)["eas_jobs", ("submitted",)] == 0

    def test_the_endpoint_answers_on_loopback_and_ends_with_its_block(self, database: TaskDatabase) -> None:
        initialise(database, registry.load())
        with endpoint(database, LEASE, 0) as port:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                found = samples(answer.read().decode())
            assert found["eas_database_up", ()] == 1
            assert ("process_resident_memory_bytes", ()) in found
            with pytest.raises(RequestError, match="cannot be served"), endpoint(database, LEASE, port):
                pass
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port or 0)) != 0
        with endpoint(database, LEASE, None) as none:
            assert none is None


class TestSQLite(MetricsContract):
    engine = "sqlite"

    def test_a_database_that_is_away_is_reported(self, database: TaskDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
        away = TaskDatabase("mysql+pymysql://user@127.0.0.1:1/none", timeout=0.1)
        found = CollectorRegistry()
        found.register(SystemCollector(away, LEASE))
        assert self.read(found) == {("eas_database_up", ()): 0.0}
        away.close()


class TestMariaDB(MetricsContract):
    engine = "mariadb"
