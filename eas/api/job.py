"""A job of the Python interface: run it, wait for it, look at its results."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from eas.api import session
from eas.api.tables import joined
from eas.api.task import Task
from eas.cli.display import JobDisplay
from eas.cli.terminal import Terminal
from eas.errors import EASError
from eas.maintenance.publish import republish
from eas.operations import cancel as cancelling
from eas.operations import reschedule as rescheduling
from eas.operations.cancel import Cancelled
from eas.operations.reschedule import Rescheduled
from eas.orchestration.drive import Driver
from eas.orchestration.job_summary import JobSummary, summarise, to_html
from eas.states import JobState
from eas.taskdb import jobs
from eas.taskdb.queries import job_list, outcomes, reports, task_list, undriven
from eas.taskdb.queries.keyset import all_pages
from eas.taskdb.queries.reports import Filters
from eas.taskdb.queries.task_list import TaskFilter

if TYPE_CHECKING:
    import pandas as pd

POLL_INTERVAL = 0.5
"""Interval [s] at which the state of a job is polled."""
DRIVER_WARNING_DELAY = 30.0
"""Time [s] without a driver after which ``wait`` warns."""


class Job:
    """A job in the task database.

    Every method reads the database when it is called; nothing is cached.

    Parameters
    ----------
    id:
        Its number.

    Examples
    --------
    >>> job = Job(1)
    >>> job.name, job.state
    ('sweep', 'failed')
    """

    def __init__(self, id: int) -> None:  # noqa: A002 - the name that users read
        self.id = int(id)

    def __repr__(self) -> str:
        return f"Job({self.id})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.id == self.id

    def __hash__(self) -> int:
        return hash(("job", self.id))

    def _repr_html_(self) -> str:
        """Return tasks by type and state, outcomes and failures as a table, for notebooks."""
        found = session.app().database.fetch(lambda connection: outcomes.counts(connection, self.id))
        return to_html(self.summary(), found)

    @property
    def name(self) -> str:
        """Its name.

        Raises
        ------
        UnknownJobError
            There is no such job.

        Examples
        --------
        >>> Job(1).name
        'sweep'
        """
        return str(session.app().database.fetch(lambda connection: job_list.find(connection, str(self.id))).name)

    @property
    def state(self) -> str:
        """``submitted``, ``running``, ``done``, ``failed`` or ``cancelled``.

        Examples
        --------
        >>> Job(1).state
        'failed'
        """
        return str(session.app().database.fetch(lambda connection: jobs.state_of(connection, self.id)))

    def summary(self) -> JobSummary:
        """Return the outcome so far: tasks by state, failures with reasons, seed, wall-clock time [s].

        Raises
        ------
        UnknownJobError
            There is no such job.

        Examples
        --------
        >>> summary = Job(1).summary()
        >>> summary.message
        '6 of 7 tasks done; 1 failed'
        >>> [failure.label for failure in summary.failures]
        ['error "broken"']
        """
        return summarise(session.app().database, self.id)

    def run(self, *, workers: int | None = None, progress: bool = False) -> JobSummary:
        """Run the job to its end with local workers, and return its outcome.

        Like ``eas run --resume``, but without Prefect. Works also for an interrupted job.

        Parameters
        ----------
        workers:
            Worker processes to start; None: one for each CPU; 0: other workers run its tasks.
        progress:
            Whether to show the progress meanwhile.

        Raises
        ------
        LostLeaseError
            Another process drives the job.
        ServiceError
            Database, broker or file store cannot be reached.

        Examples
        --------
        >>> job = submit({"job_name": "one", "task_list": [{"task": "null", "duration": 0}]})
        >>> job.run(workers=1).succeeded
        True
        """
        app = session.app()
        if JobState(self.state).final:
            return self.summary()
        count = (os.cpu_count() or 1) if workers is None else workers
        with ExitStack() as stack:
            stack.enter_context(JobDisplay(app.database, self.id, Terminal(), quiet=not progress))
            local = stack.enter_context(app.local_workers(count))
            driver = stack.enter_context(Driver(app.orchestrator(self.id)))
            driver.run(lambda _: local.check())
        republish(app.database, app.store)
        return self.summary()

    def wait(self, *, progress: bool = False, timeout: float | None = None) -> JobSummary:
        """Wait until the job has ended, and return its outcome. Other processes run it.

        Warns if no process drives the job and no supervisor is alive.

        Parameters
        ----------
        progress:
            Whether to show the progress meanwhile.
        timeout:
            Give up after this time [s]; None: never.

        Raises
        ------
        EASError
            The job has not ended after ``timeout``; it continues.

        Examples
        --------
        >>> Job(1).wait(timeout=60).state
        'failed'
        """
        database = session.app().database
        began, warned = time.monotonic(), False
        with JobDisplay(database, self.id, Terminal(), quiet=not progress):
            while not JobState(self.state).final:
                waited = time.monotonic() - began
                if timeout is not None and waited >= timeout:
                    hint = "wait longer, or check progress() and `eas doctor`"
                    raise EASError(f"job {self.id} has not ended after {timeout:g} s", hint=hint)
                if not warned and waited >= DRIVER_WARNING_DELAY and self._is_undriven():
                    warned = True
                    message = f"no process drives job {self.id} and no supervisor is alive: run(), or `eas schedule`"
                    warnings.warn(message, stacklevel=2)
                time.sleep(POLL_INTERVAL if timeout is None else min(POLL_INTERVAL, timeout - waited))
        return self.summary()

    def _is_undriven(self) -> bool:
        database = session.app().database
        now = database.now()
        return self.id in {row.id for row in database.fetch(lambda connection: undriven.undriven_jobs(connection, now))}

    def progress(self) -> pd.DataFrame:
        """Return one row for each task type: number of tasks by state, share done [%], time left [s].

        Examples
        --------
        >>> table = Job(1).progress().set_index("task_type")
        >>> int(table.loc["verify", "done"]), table.attrs["units"]["time_left"]
        (2, 's')
        """
        from reports import assemble

        now = session.app().database.now()
        return self._table(lambda connection, filters: assemble.progress(connection, filters, now))

    def timings(self) -> pd.DataFrame:
        """Return one row for each ended attempt: times (UTC), wall-clock and CPU time [s], peak memory [MB].

        Examples
        --------
        >>> table = Job(1).timings()
        >>> str(table["started"].dt.tz), table.attrs["units"]["peak_memory"]
        ('UTC', 'MB')
        """
        from reports import assemble

        return self._table(lambda connection, filters: joined(assemble.timings_frames(connection, filters)))

    def pass_fail(self) -> pd.DataFrame:
        """Return one row for each task with an outcome: loop parameters, PASS, FAIL or UNDEFINED, results.

        Units are in ``attrs["units"]``: those of settings, also of a loop parameter that is used as one.

        Examples
        --------
        >>> Job(1).pass_fail().empty
        True
        """
        from reports import assemble

        return self._table(lambda connection, filters: joined(assemble.pass_fail(connection, filters)))

    def errors(self) -> pd.DataFrame:
        """Return one row for each logged error: time (UTC), task, host, message, traceback.

        Examples
        --------
        >>> table = Job(1).errors()
        >>> sorted(set(table["task_type"]))
        ['error']
        """
        from reports import assemble

        return self._table(lambda connection, filters: joined(assemble.error_frames(connection, filters)))

    def tasks(
        self,
        *,
        task_type: str | None = None,
        state: str | None = None,
        outcome: str | None = None,
        text: str = "",
        **parameters: Any,
    ) -> pd.DataFrame:
        """Return one row for each task: state, times (UTC), loop parameters, and its results.

        With loop values as a filter, without control tasks.

        Parameters
        ----------
        task_type, state:
            Only tasks of this type, or in this state.
        outcome:
            Only tasks with this outcome: ``"PASS"``, ``"FAIL"``, ``"UNDEFINED"``, or ``"*"`` for any.
        text:
            Only tasks with this text in name, type, metadata, settings or reason.
        parameters:
            Only tasks in the iterations with these loop values; numbers agree if four digits do.

        Raises
        ------
        RequestError
            There is no such state.

        Examples
        --------
        >>> table = Job(1).tasks(task_type="verify")
        >>> table["size"].tolist(), table["state"].tolist()
        ([0.1, 0.2], ['done', 'done'])
        >>> len(Job(1).tasks(size=0.1, state="done"))
        2
        """
        from reports.typed import task_frame

        values = {name: str(value) for name, value in parameters.items()}
        wanted = TaskFilter(self.id, task_type, state, outcome, text=text, parameters=values)

        def read(connection: Connection, filters: Filters) -> pd.DataFrame:
            rows = list(all_pages(lambda after: task_list.page(connection, wanted, after=after, limit=1000)))
            return task_frame(rows, outcomes.results(connection, [row.accepted_attempt_id for row in rows]))

        return self._table(read)

    def task(self, task: int | str) -> Task:
        """Return one task of the job.

        Parameters
        ----------
        task:
            Its id, or its name where one task alone has it.

        Raises
        ------
        UnknownTaskError
            The job has no such task.
        RequestError
            Several tasks have that name.

        Examples
        --------
        >>> Job(1).task("broken").state
        'failed'
        """
        return Task._find(self.id, task)

    def cancel(self) -> Cancelled:
        """Cancel the job, like ``eas cancel``: drop queued attempts, stop running ones, keep file products.

        Examples
        --------
        >>> job = submit({"job_name": "never", "task_list": [{"task": "null", "duration": 0}]})
        >>> done = job.cancel()
        >>> job.state
        'cancelled'
        """
        app = session.app()
        return cancelling.cancel(app.database, app.queue, self.id)

    def reschedule(self) -> Rescheduled:
        """Reschedule failed, stalled and withdrawn tasks, like ``eas reschedule``. Then `run` the job.

        Examples
        --------
        >>> job = submit({"job_name": "again", "task_list": [{"task": "null", "duration": 0}]})
        >>> done = job.cancel()
        >>> job.reschedule().total, job.state
        (1, 'submitted')
        """
        app = session.app()
        return rescheduling.reschedule(app.database, app.queue, job_id=self.id)

    def _table(self, read: Callable[[Connection, Filters], pd.DataFrame]) -> pd.DataFrame:
        """Return a table of one snapshot of the database, with types and units."""
        from reports.typed import typed
        from reports.units import parameter_units

        filters = Filters(job_id=self.id)
        with reports.snapshot(session.app().database) as connection:
            reports.check(connection, filters)
            return typed(read(connection, filters), parameter_units(job_list.chain(connection, self.id)))


def job(name: int | str) -> Job:
    """Return a job that was submitted before.

    Parameters
    ----------
    name:
        Its id, or its name; of several with one name, the only unfinished one.

    Raises
    ------
    UnknownJobError
        There is no such job.
    RequestError
        The name is not unique.

    Examples
    --------
    >>> job(1)
    Job(1)
    >>> job("sweep").id
    1
    """
    found = session.app().database.fetch(lambda connection: job_list.find(connection, str(name)))
    return Job(found.id)
