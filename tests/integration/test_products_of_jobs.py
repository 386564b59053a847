"""File products of several jobs: who makes them, who reads them, and what happens where they exist."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from eas.errors import ChainError, ProductsExistError
from eas.operations.pause import pause, resume
from eas.operations.reschedule import reschedule
from eas.states import TaskState
from eas.taskdb import tables
from tests.integration.chains import NULL, loop, synthesis, verify
from tests.integration.harness import System


class TestAcrossJobs:
    def test_a_product_of_an_earlier_job_serves(self, system: System) -> None:
        assert system.run([synthesis("a.lc")], name="maker").succeeded
        assert system.run([verify("a.lc")], name="reader").succeeded

    def test_a_product_of_a_job_that_runs_at_the_same_time_is_waited_for(self, system: System) -> None:
        maker = system.submit([loop("k", ["a"], synthesis("'{k}.lc'.format(**metadata)"))], name="maker")
        reader = system.submit([verify("a.lc")], name="reader")
        with system.worker():
            system.drive(reader, maker)
        assert system.summary(reader).succeeded
        assert system.summary(maker).succeeded

    def test_when_the_other_job_fails_the_reader_is_blocked_by_it(self, system: System) -> None:
        maker = system.submit([synthesis("a.lc", eccentricity=2)], name="maker")
        reader = system.submit([verify("a.lc")], name="reader")
        with system.worker():
            system.drive(reader, maker)
        (failure,) = system.summary(reader).failures
        assert failure.state == "blocked"
        assert "job 1 (maker)" in failure.reason

    def test_an_input_that_nothing_makes_is_refused(self, system: System) -> None:
        with pytest.raises(ChainError, match=r"task_list\[0\].inputs.lightcurve.*nothing makes its input 'a.lc'"):
            system.submit([verify("a.lc")])
        assert system.rows(select(tables.jobs)) == []


class TestProductsThatExist:
    CHAIN = (synthesis("a.lc"), verify("a.lc"))

    def test_fail_says_which_and_by_whom(self, system: System) -> None:
        assert system.run(list(self.CHAIN), name="one").succeeded
        with pytest.raises(ProductsExistError, match=r"(?s)wd/a.lc: made by job 1 \(one\), task 2.*--if-exists reuse"):
            system.submit(list(self.CHAIN), name="two")

    def test_reuse_runs_only_the_rest(self, system: System) -> None:
        assert system.run(list(self.CHAIN)).succeeded
        summary = system.run([*self.CHAIN, synthesis("b.lc")], if_exists="reuse")
        assert summary.succeeded
        ran = system.rows(select(tables.attempts.c.task_type).where(tables.attempts.c.job_id == summary.job_id))
        assert sorted(row.task_type for row in ran) == ["synthesis_batman", "verify"]
        assert len(system.rows(select(tables.product_versions))) == 2

    def test_reuse_makes_anew_what_is_described_otherwise_and_all_that_hangs_on_it(self, system: System) -> None:
        binning = {
            "task": "binning",
            "cadence": 1200,
            "inputs": {"lightcurve": "a.lc"},
            "outputs": {"lightcurve": "b.lc"},
        }
        assert system.run([synthesis("a.lc"), binning]).succeeded
        summary = system.run([synthesis("a.lc", planet_radius=0.7), binning], if_exists="reuse")
        assert summary.succeeded
        assert len(system.rows(select(tables.attempts).where(tables.attempts.c.job_id == summary.job_id))) == 2

    def test_replace_makes_new_versions(self, system: System) -> None:
        assert system.run(list(self.CHAIN)).succeeded
        assert system.run(list(self.CHAIN), if_exists="replace").succeeded
        versions = system.rows(select(tables.product_versions).order_by(tables.product_versions.c.id))
        assert len(versions) == 2
        (product,) = system.rows(select(tables.products))
        assert product.current_version_id == versions[1].id

    def test_reused_metadata_are_there_for_siblings(self, system: System) -> None:
        chain = [
            synthesis("a.lc") | {"name": "made"},
            NULL
            | {
                "requires_metadata_from": ["made"],
                "duration": "(0 * requested_metadata['made']['orbital_period'])",
            },
        ]
        assert system.run(chain).succeeded
        assert system.run(chain, if_exists="reuse").succeeded

    def test_reuse_takes_the_seed_of_the_job_whose_products_it_finds(self, system: System) -> None:
        noisy = synthesis("a.lc", noise=1e-4)
        first = system.run([noisy])
        second = system.run([noisy, synthesis("b.lc", noise=1e-4)], if_exists="reuse")
        assert second.seed == first.seed
        ran = system.rows(select(tables.attempts).where(tables.attempts.c.job_id == second.job_id))
        assert len(ran) == 1

    def test_reuse_with_a_seed_of_its_own_makes_noise_of_its_own(self, system: System) -> None:
        noisy = synthesis("a.lc", noise=1e-4)
        assert system.run([noisy], seed="1").succeeded
        again = system.run([noisy], if_exists="reuse", seed="2")
        assert again.seed == "2"
        assert len(system.rows(select(tables.product_versions))) == 2

    def test_what_draws_nothing_at_random_is_found_again_whatever_the_seed(self, system: System) -> None:
        binning = {"task": "binning", "cadence": 1200}
        binning |= {"inputs": {"lightcurve": "a.lc"}, "outputs": {"lightcurve": "b.lc"}}
        chain = [synthesis("a.lc"), synthesis("c.lc", noise=0), binning]
        assert system.run(chain, seed="1").succeeded
        again = system.run(chain, if_exists="reuse", seed="2")
        assert again.succeeded
        assert not system.rows(select(tables.attempts).where(tables.attempts.c.job_id == again.job_id))

    def test_the_seed_is_new_for_each_job(self, system: System) -> None:
        seeds = [system.summary(system.submit([synthesis(f"{each}.lc")])).seed for each in range(3)]
        assert len(set(seeds)) == 3
        assert all(each.isdecimal() and len(each) < 10 for each in seeds)

    def test_two_jobs_must_not_make_the_same_product_at_once(self, system: System) -> None:
        first = system.submit([synthesis("a.lc")], name="one")
        system.drive(first, steps=1)
        with pytest.raises(ProductsExistError, match="is being made by job 1"):
            system.submit([synthesis("a.lc")], name="two", if_exists="replace")

    def test_two_jobs_submitted_before_either_runs(self, system: System) -> None:
        system.submit(list(self.CHAIN), name="one")
        with pytest.raises(ProductsExistError, match=r"wd/a.lc will be made by job 1 \(one\), which is submitted"):
            system.submit(list(self.CHAIN), name="two", if_exists="replace")

    def test_the_second_maker_of_a_product_of_another_directory_is_refused_when_it_expands(
        self, system: System
    ) -> None:
        first = system.submit(list(self.CHAIN), name="one")
        tasks = [each | {"working_directory": "wd"} for each in self.CHAIN]
        second = system.submit({"working_directory": "other", "task_list": tasks}, name="two")
        system.drive(second, steps=1)
        with system.worker():
            system.drive(first, second)
        assert [system.summary(job).state for job in (first, second)] == ["failed", "done"]
        maker, reader = system.summary(first).failures
        assert (maker.state, reader.state) == ("failed", "blocked")
        assert re.search(
            r"wd/a.lc is being made by job 2 \(two\), task \d+.*--if-exists reuse or replace", maker.reason
        )

    def test_a_task_that_is_rescheduled_claims_its_product_again(self, system: System) -> None:
        first = system.submit([synthesis("a.lc", eccentricity=2)], name="one")
        with system.worker():
            system.drive(first)
        second = system.submit([synthesis("a.lc")], name="two")
        system.drive(second, steps=1)
        reschedule(system.app.database, system.app.queue, job_id=first)
        system.drive(first)
        (failure,) = system.summary(first).failures
        assert "is being made by job 2 (two)" in failure.reason

    def test_a_job_reads_the_version_that_its_own_task_made(self, system: System) -> None:
        chain = [synthesis("a.lc"), NULL | {"name": "pause", "duration": 0}, verify("a.lc")]
        first = system.submit(chain, name="one")
        with system.worker():
            system.drive(first, until=lambda each: each.graph.counts.get(("synthesis_batman", TaskState.DONE), 0) == 1)
        pause(system.app.database, ["verify"])
        newer = system.submit([synthesis("a.lc", planet_radius=0.7)], name="two", if_exists="replace")
        with system.worker():
            system.drive(newer)
        resume(system.app.database, system.app.queue, ["verify"])
        with system.worker():
            system.drive(first)
        version, product = tables.product_versions, tables.products
        own, other = (row.id for row in system.rows(select(version).order_by(version.c.id)))
        assert {row.version_id for row in system.rows(select(tables.attempt_inputs))} == {own}
        assert system.rows(select(product.c.current_version_id)) == [(other,)]
