"""The supervisor: a daemon that runs every job which nobody drives.

It may be killed at any line, and any number of them may run: a job's lease in SQL says who drives
it. It knows nothing of Prefect; what runs one job is handed in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from eas.control import machine, reaper
from eas.control.orchestrator import Orchestrator
from eas.control.summary import summarise
from eas.errors import EASError, LostLeaseError
from eas.queues.base import JobQueue
from eas.states import JobState
from eas.taskdb import jobs, operations
from eas.taskdb.engine import AnyRow, TaskDatabase

LOG = logging.getLogger("eas.supervisor")

LOOK_INTERVAL = 0.5
"""How often jobs to adopt are looked for [s]."""
FIRST_WAIT, LONGEST_WAIT = 0.02, 0.25
"""How long a job is left alone between two steps [s]."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
"""How long a job rests after its orchestrator failed, doubled each time [s]."""
TELL_INTERVAL = 60.0
"""How often the log says what is going on [s]."""

RunJob = Callable[[int, threading.Event], None]
"""Runs one job, by id, until it is over, it rests, or the event is set; it takes and gives back the job's lease."""


@dataclass(frozen=True)
class SupervisorOptions:
    """How a supervisor behaves.

    Attributes
    ----------
    most_jobs:
        So many jobs are run at once: by priority, then age.
    until_idle:
        Leave when there was no job to run for so long [s]; None to stay. A job whose last tasks were
        taken off the queue is none.
    time_limit:
        Leave after so long [s], giving back the jobs; None for no limit.
    lease:
        Age of its driver's last sign of life that makes a job interrupted [s].
    heartbeat_lease:
        The same for attempts; see ``WorkerOptions.lease``.
    """

    most_jobs: int = 8
    until_idle: float | None = None
    time_limit: float | None = None
    lease: float = 60.0
    heartbeat_lease: float = 300.0


@dataclass
class Account:
    """What a supervisor did: jobs that it saw end, by how they ended, and how often running one failed."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    troubles: int = 0


@dataclass
class _Trouble:
    """Failures to run a job: how many, and when it is tried again (monotonic time, s)."""

    count: int
    again: float


class Supervisor:
    """Adopts jobs and runs each in a thread of its own; ``run`` returns when it leaves.

    Parameters
    ----------
    run_job:
        Runs one job, in a thread (see ``RunJob``); ``driver_of`` makes one that drives an
        orchestrator.
    stop:
        Leave when this is set, giving back the jobs. Fit for signal handlers.
    check:
        Called at each look; what it raises ends ``run``, which gives back the jobs first.
    """

    def __init__(
        self,
        database: TaskDatabase,
        queue: JobQueue,
        run_job: RunJob,
        options: SupervisorOptions | None = None,
        *,
        stop: threading.Event | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.database = database
        self.queue = queue
        self.run_job = run_job
        self.options = options or SupervisorOptions()
        self.stop = stop or threading.Event()
        self.check = check
        self.account = Account()
        self._leave = threading.Event()
        self._running: dict[int, threading.Thread] = {}
        self._troubles: dict[int, _Trouble] = {}
        self._resting: dict[int, int] = {}
        self._told = time.monotonic()

    def run(self) -> Account:
        """Run jobs until there is a reason to leave.

        Raises ServiceError where the task database cannot be reached at the start; later it is
        waited for.
        """
        self.database.ping()
        LOG.info("looking for jobs to run in %s", self.database.safe_url)
        house = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        house.start()
        try:
            self._supervise()
        finally:
            self._leave.set()
            for thread in list(self._running.values()):
                thread.join()
            house.join(5.0)
        return self.account

    def _supervise(self) -> None:
        began = busy = time.monotonic()
        options = self.options
        while not self.stop.is_set():
            now = time.monotonic()
            self.check()
            if self._look():
                busy = now
            if options.until_idle is not None and now - busy >= options.until_idle:
                LOG.info("no job to run for %g s: leaving", options.until_idle)
                return
            if options.time_limit is not None and now - began >= options.time_limit:
                LOG.info("the time of %g s is over: leaving", options.time_limit)
                return
            self.stop.wait(LOOK_INTERVAL)
        LOG.info("told to stop: leaving")

    def _look(self) -> bool:
        """Adopt what nobody drives; return whether there is anything to do, here or elsewhere."""
        try:
            unfinished = self.database.fetch(jobs.open_leases)
        except EASError as error:
            LOG.warning("no look at the jobs: %s", error)
            return True
        self._running = {job_id: thread for job_id, thread in self._running.items() if thread.is_alive()}
        self._forget({row.id for row in unfinished})
        open_jobs = [row for row in unfinished if self._resting.get(row.id) != row.revision]
        self._tell(len(open_jobs))
        free = self.options.most_jobs - len(self._running)
        for row in sorted(filter(self._adoptable, open_jobs), key=lambda row: (row.priority, row.id))[: max(free, 0)]:
            self._adopt(row)
        return bool(open_jobs or self._running)

    def _forget(self, unfinished: set[int]) -> None:
        for memory in (self._troubles, self._resting):
            for job_id in memory.keys() - unfinished - self._running.keys():
                del memory[job_id]

    def _adoptable(self, row: AnyRow) -> bool:
        """Return whether nobody drives a job, as far as can be told, and it is not to be left alone for now."""
        trouble = self._troubles.get(row.id)
        if row.id in self._running or (trouble is not None and time.monotonic() < trouble.again):
            return False
        silent = row.driver is not None and self.database.now() - row.driver_seen_at > self.options.lease
        return row.driver is None or silent or machine.is_gone(row.driver)

    def _adopt(self, row: AnyRow) -> None:
        LOG.info("job %d (%s): adopted", row.id, row.name)
        thread = threading.Thread(target=self._run_one, args=(row.id, row.revision), name=f"job {row.id}", daemon=True)
        self._running[row.id] = thread
        thread.start()

    def _run_one(self, job_id: int, revision: int) -> None:
        """Run one job; whatever goes wrong with it must not touch the others."""
        try:
            self.run_job(job_id, self._leave)
            self._after(job_id, revision)
        except LostLeaseError as error:
            LOG.info("job %d: left to another process: %s", job_id, error.what)
            self._postpone(job_id, FIRST_PAUSE)
        except Exception as error:
            self.account.troubles += 1
            pause = self._postpone(job_id)
            # What explains itself needs no traceback.
            trace = None if isinstance(error, EASError) else error
            LOG.warning("job %d cannot be run; once more in %.0f s: %s", job_id, pause, error, exc_info=trace)

    def _after(self, job_id: int, revision: int) -> None:
        """Note how a job was left: over, at rest, given back, or (a fault) none of these."""
        summary = summarise(self.database, job_id)
        state = JobState(summary.state)
        if state.final:
            LOG.info("job %d (%s): %s; %s", job_id, summary.job_name, state, summary.message)
            self._troubles.pop(job_id, None)
            counted = {JobState.DONE: "done", JobState.CANCELLED: "cancelled"}.get(state, "failed")
            setattr(self.account, counted, getattr(self.account, counted) + 1)
        elif (held := self.database.fetch(lambda c: operations.held(c, job_id))).tasks:
            self._resting[job_id] = held.revision
            LOG.info("job %d rests: %d tasks were taken off the queue (eas reschedule)", job_id, held.tasks)
        elif not self._leave.is_set() and held.revision == revision:
            raise EASError(f"what runs job {job_id} returned before the job was over")

    def _postpone(self, job_id: int, pause: float | None = None) -> float:
        count = self._troubles[job_id].count if job_id in self._troubles else 0
        if pause is None:
            pause, count = min(FIRST_PAUSE * 2**count, LONGEST_PAUSE), count + 1
        self._troubles[job_id] = _Trouble(count, time.monotonic() + pause)
        return pause

    def _tell(self, unfinished: int) -> None:
        if time.monotonic() - self._told >= TELL_INTERVAL and unfinished:
            self._told = time.monotonic()
            driven = ", ".join(map(str, sorted(self._running))) or "none"
            LOG.info("%d jobs unfinished; driven here: %s", unfinished, driven)

    def _keep_house(self) -> None:
        """Reap and sweep, apart from the jobs: a broker that is away must not hold those up."""
        lease = self.options.heartbeat_lease
        while not self._leave.wait(min(lease / 2, reaper.LONGEST_INTERVAL) / 2):
            try:
                reaper.tend(self.database, self.queue, lease)
            except Exception as error:
                LOG.warning("no housekeeping: %s", error)


def driver_of(orchestrator: Callable[[int], Orchestrator]) -> RunJob:
    """Return what runs a job by driving the orchestrator that ``orchestrator`` makes for its id."""

    def run(job_id: int, stop: threading.Event) -> None:
        drive(orchestrator(job_id), stop)

    return run


def drive(orchestrator: Orchestrator, stop: threading.Event) -> None:
    """Advance a job until it is over, it rests, or ``stop`` is set; then let others drive it.

    Raises LostLeaseError where somebody else drives it.
    """
    orchestrator.open()
    try:
        wait = FIRST_WAIT
        while not (orchestrator.finished or orchestrator.resting or stop.is_set()):
            events = orchestrator.step()
            wait = FIRST_WAIT if events else min(wait * 1.5, LONGEST_WAIT)
            if not orchestrator.finished:
                stop.wait(wait)
    finally:
        orchestrator.close()
