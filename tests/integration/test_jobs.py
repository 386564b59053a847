"""Jobs from submission to their end, with a real worker and its child process, on sqlite."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import select

from eas.errors import LostLeaseError, RequestError, ServiceError
from eas.orchestration.orchestrator import EventKind
from eas.states import TaskState
from eas.taskdb import tables
from tests.integration.chains import NULL, loop, synthesis, verify
from tests.integration.harness import TIMEOUT, System


def test_a_loop_of_null_tasks_is_done(system: System) -> None:
    summary = system.run([loop("i", [1, 2, 3], NULL)])
    assert summary.state == "done"
    assert summary.counts["null"] == {"done": 3}
    assert summary.counts["execution_chain"] == {"done": 4}
    assert summary.counts["execution_for_loop"] == {"done": 1}


def test_order_of_the_list_means_nothing_and_dependencies_do(system: System) -> None:
    job = system.submit([verify("a.lc"), synthesis("a.lc")])
    with system.worker():
        events = system.drive(job)
    assert system.summary(job).succeeded
    queued = [event.node.task_type for event in events if event.what is EventKind.QUEUED]
    assert queued == ["synthesis_batman", "verify"]


def test_an_input_may_be_made_at_any_depth(system: System) -> None:
    maker = {"task": "execution_chain", "task_list": [loop("k", ["deep"], synthesis("'{k}.lc'.format(**metadata)"))]}
    assert system.run([verify("deep.lc"), maker]).succeeded


def test_a_failed_maker_blocks_what_reads_its_product(system: System) -> None:
    summary = system.run([synthesis("a.lc", eccentricity=2), verify("a.lc"), NULL])
    assert summary.state == "failed"
    assert summary.leaves == {"failed": 1, "blocked": 1, "done": 1}
    by_type = {failure.task_type: failure for failure in summary.failures}
    assert "eccentricity" in by_type["synthesis_batman"].reason
    assert by_type["verify"].reason == "blocked by synthesis_batman (task 2), which failed"


def test_blocking_goes_on_through_several_tasks_and_names_the_first(system: System) -> None:
    binning = {"task": "binning", "cadence": 1200, "inputs": {"lightcurve": "a.lc"}, "outputs": {"lightcurve": "b.lc"}}
    summary = system.run([synthesis("a.lc", eccentricity=2), binning, verify("b.lc")])
    assert {failure.reason for failure in summary.failures if failure.state == "blocked"} == {
        "blocked by synthesis_batman (task 2), which failed"
    }


def test_an_error_task_logs_its_traceback(system: System) -> None:
    summary = system.run([{"task": "error"}])
    assert summary.leaves == {"failed": 1}
    entries = system.rows(select(tables.log_entries).where(tables.log_entries.c.traceback.is_not(None)))
    assert len(entries) == 1
    assert "Traceback" in entries[0].traceback


def test_retries_give_a_failed_task_further_attempts(system: System) -> None:
    summary = system.run([{"task": "error"}], retries=2, backoff=0.01)
    assert summary.leaves == {"failed": 1}
    attempts = system.rows(select(tables.attempts.c.number, tables.attempts.c.state))
    assert [tuple(row) for row in attempts] == [(1, "failed"), (2, "failed"), (3, "failed")]


@pytest.mark.parametrize(("size", "expected"), [(0.5, "yes"), (0.01, "no")])
def test_a_conditional_takes_the_branch_that_metadata_say(system: System, size: float, expected: str) -> None:
    chain = [
        synthesis("a.lc", planet_radius=size) | {"name": "made"},
        {
            "task": "execution_conditional",
            "requires_metadata_from": ["made"],
            "criterion": "(requested_metadata['made']['planet_radius'] > 0.1)",
            "task_list": [NULL | {"name": "yes"}],
            "else_task_list": [NULL | {"name": "no"}],
        },
    ]
    assert system.run(chain).succeeded
    assert [row.name for row in system.rows(select(tables.tasks.c.name).where(tables.tasks.c.task_type == "null"))] == [
        expected
    ]


def test_a_missing_branch_is_an_empty_list(system: System) -> None:
    chain = [{"task": "execution_conditional", "criterion": "(1 > 2)", "task_list": [NULL]}]
    summary = system.run(chain)
    assert summary.succeeded
    assert "null" not in summary.counts


def test_a_while_loop_repeats_as_long_as_its_criterion_holds(system: System) -> None:
    chain = [
        {
            "task": "execution_do_while_loop",
            "iteration_name": "turn",
            "requires_metadata_from_child": ["made"],
            "repeat_criterion": "(requested_metadata['made']['planet_radius'] < 0.3)",
            "task_list": [
                synthesis("'{turn_index}.lc'.format(**metadata)", planet_radius="(metadata['turn_index'] / 10)")
                | {"name": "made"}
            ],
        }
    ]
    summary = system.run(chain)
    assert summary.succeeded
    assert summary.counts["synthesis_batman"] == {"done": 3}
    assert summary.counts["execution_do_while_loop"] == {"done": 1}


def test_each_iteration_of_a_while_loop_may_make_the_same_product_anew(system: System) -> None:
    chain = [
        {
            "task": "execution_do_while_loop",
            "iteration_name": "turn",
            "repeat_criterion": "(metadata['turn_index'] < 3)",
            "task_list": [synthesis("a.lc", planet_radius="(metadata['turn_index'] / 10)"), verify("a.lc")],
        }
    ]
    job = system.submit(chain)
    with system.worker():
        system.drive(job, until=lambda each: each.graph.counts.get(("verify", TaskState.DONE), 0) >= 2)
        system.drive(job)
    assert system.summary(job).counts["verify"] == {"done": 3}
    read = select(tables.attempt_inputs.c.version_id).order_by(tables.attempt_inputs.c.attempt_id)
    assert len({row.version_id for row in system.rows(read)}) == 3


def test_a_while_loop_whose_body_fails_ends(system: System) -> None:
    chain = [
        {
            "task": "execution_do_while_loop",
            "iteration_name": "turn",
            "requires_metadata_from_child": ["x"],
            "repeat_criterion": "(requested_metadata['x']['y'] < 3)",
            "task_list": [{"task": "error", "name": "x"}],
        }
    ]
    summary = system.run(chain)
    assert summary.state == "failed"
    assert summary.counts["error"] == {"failed": 1}


def test_settings_that_wait_for_metadata_are_evaluated_when_these_are_here(system: System) -> None:
    chain = [
        synthesis("a.lc") | {"name": "made"},
        {
            "task": "binning",
            "requires_metadata_from": ["made"],
            "inputs": {"lightcurve": "a.lc"},
            "outputs": {"lightcurve": "'b_{:.0f}.lc'.format(requested_metadata['made']['sampling_cadence'])"},
            "cadence": "(2 * requested_metadata['made']['sampling_cadence'])",
        },
        verify("b_600.lc"),
    ]
    assert system.run(chain).succeeded
    assert [row.name for row in system.rows(select(tables.products.c.name))] == ["a.lc", "b_600.lc"]


def test_a_metadata_that_is_not_there_fails_the_task_with_its_reason(system: System) -> None:
    chain = [
        NULL | {"name": "first"},
        NULL | {"requires_metadata_from": ["first"], "duration": "(requested_metadata['first']['nothing'])"},
    ]
    summary = system.run(chain)
    assert summary.leaves == {"done": 1, "failed": 1}
    assert "nothing" in summary.failures[0].reason


def test_products_are_linked_under_their_published_names(system: System) -> None:
    assert system.run([synthesis("sub/a.lc")]).succeeded
    store = Path(system.app.settings.store_location)
    plain = store / "wd" / "sub" / "a.lc"
    assert plain.stat().st_size > 100
    version = system.rows(select(tables.product_versions))[0]
    assert version.passed_qc
    assert plain.samefile(store / version.store_path)


class TestInterruptions:
    def test_a_job_goes_on_where_a_killed_orchestrator_left_it(self, system: System) -> None:
        chain = [
            loop("i", list(range(12)), synthesis("'{i}.lc'.format(**metadata)"), verify("'{i}.lc'.format(**metadata)"))
        ]
        job = system.submit(chain)
        with system.worker():
            for done in (1, 5, 9):
                system.drive(job, until=lambda each, n=done: each.graph.counts.get(("verify", TaskState.DONE), 0) >= n)
            system.drive(job)
        summary = system.summary(job)
        assert summary.succeeded
        attempts = system.rows(select(tables.attempts.c.task_id))
        assert len(attempts) == len(set(attempts)) == 24

    def test_another_orchestrator_waits_for_the_lease(self, system: System) -> None:
        job = system.submit([NULL])
        first = system.app.orchestrator(job)
        first.open()
        with pytest.raises(LostLeaseError, match="driven by another process"):
            system.app.orchestrator(job).open()
        first.close()
        system.app.orchestrator(job).open()

    def test_an_orchestrator_that_lost_its_lease_stops(self, system: System) -> None:
        job = system.submit([NULL])
        first = system.app.orchestrator(job)
        first.lease = 0.0
        first.open()
        second = system.app.orchestrator(job)
        second.lease = -1.0
        second.open()
        with pytest.raises(LostLeaseError, match="taken over"):
            first.step()

    def test_opening_a_finished_job_changes_nothing(self, system: System) -> None:
        summary = system.run([NULL])
        again = system.app.orchestrator(summary.job_id)
        again.open()
        assert again.finished
        assert again.step() == []
        again.close()


class TestWhatOnlyRunningCanTell:
    def test_two_makers_of_one_product(self, system: System) -> None:
        name = "(requested_metadata['made']['planet_radius'] and 'same.lc')"
        maker = synthesis("x") | {"requires_metadata_from": ["made"], "outputs": {"lightcurve": name}}
        summary = system.run([synthesis("a.lc") | {"name": "made"}, maker, maker])
        assert summary.state == "failed"
        assert any("two tasks make 'same.lc'" in failure.reason for failure in summary.failures)

    def test_an_input_that_turns_out_to_have_no_maker(self, system: System) -> None:
        reader = {
            "task": "verify",
            "requires_metadata_from": ["made"],
            "inputs": {"lightcurve": "(requested_metadata['made']['planet_radius'] and 'nowhere.lc')"},
        }
        summary = system.run([synthesis("a.lc") | {"name": "made"}, reader])
        (failure,) = summary.failures
        assert failure.state == "blocked"
        assert 'nothing makes its input "nowhere.lc"' in failure.reason

    def test_a_product_that_exists_under_a_name_known_late(self, system: System) -> None:
        assert system.run([synthesis("late.lc")], name="one").succeeded
        maker = synthesis("x") | {
            "requires_metadata_from": ["made"],
            "outputs": {"lightcurve": "(requested_metadata['made']['planet_radius'] and 'late.lc')"},
        }
        summary = system.run([synthesis("a.lc") | {"name": "made"}, maker], name="two")
        (failure,) = summary.failures
        assert "exists already" in failure.reason


def test_a_type_without_code_is_refused_at_submission(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    types = dict(system.app.registry.task_types)
    types["verify"] = type(types["verify"])(name="verify", worker_type="eas-base", inputs=("lightcurve",))
    monkeypatch.setattr(type(system.app.registry), "task_types", types, raising=False)
    system.app.registry = type(system.app.registry)(types, system.app.registry.worker_types)
    with pytest.raises(RequestError, match="cannot run the task types verify yet"):
        system.submit([synthesis("a.lc"), verify("a.lc")])


def test_a_database_that_is_away_fails_no_task(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [
        synthesis("a.lc") | {"name": "made"},
        NULL | {"requires_metadata_from": ["made"], "duration": "(0 * requested_metadata['made']['t0'])"},
    ]
    job = system.submit(chain)
    away = ServiceError("the task database is away")
    with system.worker():
        orchestrator = system.app.orchestrator(job)
        orchestrator.open()
        with monkeypatch.context() as patched:
            patched.setattr(orchestrator.expander, "_requested_metadata", lambda *_, **__: (_ for _ in ()).throw(away))
            with pytest.raises(ServiceError):
                deadline = time.monotonic() + TIMEOUT
                while time.monotonic() < deadline:
                    orchestrator.step()
                    time.sleep(0.01)
        orchestrator.close()
        system.drive(job)
    assert system.summary(job).succeeded
