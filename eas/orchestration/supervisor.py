"""The supervisor: a service that runs every unfinished job that no other process drives.

It may be killed at any line, and any number of supervisors may run: the lease of a job in the task database
names the process that drives it. It is independent of Prefect; the function that runs a job is a parameter.

Each job has its own thread and its own orchestrator. The supervisor's data on a job needs no lock: only that
thread and the main thread access it, and the main thread does so only after the job's thread has ended.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from sqlalchemy.exc import StatementError

from eas.errors import EASError, LostLeaseError, ServiceError
from eas.maintenance import process_identity, reaper
from eas.orchestration.drive import RunJob
from eas.orchestration.fail_job import fail_job
from eas.orchestration.job_summary import summarise
from eas.queues.base import JobQueue
from eas.states import JobState
from eas.taskdb import job_lease
from eas.taskdb.engine import AnyRow, TaskDatabase
from eas.taskdb.queries import job_selection, progress, unfinished_jobs
from eas.taskdb.service_lease import SUPERVISOR, ServiceLease
from eas.wakeups import JOBS, Listener

LOG = logging.getLogger("eas.supervisor")

POLL_INTERVAL = 0.5
"""Interval [s] between two queries for jobs to adopt; a submission on this machine triggers one earlier."""
MAX_POLL_SHARE = 0.05
"""Maximum share of the time spent on these queries: with 10^4 unfinished jobs one takes 50 ms or more."""
MAX_POLL_INTERVAL = 5.0
"""Upper limit [s] of the interval between two queries: one that an outage delayed must not delay the next."""
MIN_RETRY_DELAY, MAX_RETRY_DELAY = 2.0, 300.0
"""Pause before a job is run again after its orchestrator failed, doubled each time [s]."""
MAX_EQUAL_FAILURES = 5
"""Number of equal consecutive failures without progress after which a job is marked as *failed*."""
MAX_REASON_CHARS = 2_000
"""Length of a stored reason [characters]."""
LOG_INTERVAL = 60.0
"""Interval [s] at which the log lists the driven jobs."""
STANDBY_INTERVAL = 2.0
"""Interval [s] at which a standby supervisor tries to take the lease."""
LEASE_INTERVAL = 15.0
"""Interval [s] at which the supervisor renews its own lease."""


@dataclass(frozen=True)
class SupervisorOptions:
    """Options of a supervisor.

    Attributes
    ----------
    max_jobs:
        Maximum number of jobs that run at once, chosen by priority, then age.
    until_idle:
        Exit after this time without a job to run [s]; None to keep running. A job that is paused
        because its last tasks were withdrawn from the queue does not count.
    time_limit:
        Release the jobs and exit after this time [s]; None for no limit.
    lease:
        Age of a driver's last heartbeat above which its job counts as interrupted [s].
    heartbeat_lease:
        The same for attempts; see ``WorkerOptions.lease``.
    stand_by:
        Run no job while another supervisor is alive.
    """

    max_jobs: int = 8
    until_idle: float | None = None
    time_limit: float | None = None
    lease: float = job_lease.LEASE_DURATION
    heartbeat_lease: float = 300.0
    stand_by: bool = False


@dataclass
class JobRunStats:
    """Number of jobs that ended under a supervisor, by outcome, and of errors while running jobs."""

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    errors: int = 0


@dataclass
class _Failures:
    """Failures to run one job.

    Attributes
    ----------
    retry_at:
        When it is run again (monotonic time) [s].
    total:
        Number of failures, outages among them.
    repeated:
        Number of failures in a row with the same reason and progress, outages not counted.
    """

    retry_at: float = 0.0
    total: int = 0
    repeated: int = 0
    reason: str = ""
    progress: Sequence[str] = ()

    def count(self, reason: str, progress: Sequence[str]) -> int:
        """Count a failure that is no outage; return how many equal ones there were in a row."""
        same = (reason, progress) == (self.reason, self.progress)
        self.repeated = self.repeated + 1 if same else 1
        self.reason, self.progress = reason, progress
        return self.repeated


class Supervisor:
    """Adopts jobs and runs each in a thread of its own; ``run`` returns when the supervisor exits.

    Parameters
    ----------
    run_job:
        Drives one job, in a thread (see ``RunJob``); ``drive.job_runner`` returns one.
    stop:
        When this is set, the supervisor releases its jobs and exits. Signal handlers may set it.
    check:
        Called in each pass; an error that it raises ends ``run``, which releases the jobs first.

    Attributes
    ----------
    active:
        Whether it runs jobs, and does not stand by.
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
        self.stats = JobRunStats()
        self.active = False
        self._leave = threading.Event()
        self._running: dict[int, threading.Thread] = {}
        self._ended: SimpleQueue[int] = SimpleQueue()
        self._adoptable_jobs: deque[AnyRow] = deque()
        self._next_poll = self._earliest_poll = 0.0
        self._busy = False
        self._listener: Listener | None = None
        self._failures: dict[int, _Failures] = {}
        self._paused: dict[int, int] = {}
        self._logged_at = time.monotonic()
        self._lease = ServiceLease(database, SUPERVISOR)
        self._lease_due = 0.0

    def run(self) -> JobRunStats:
        """Run jobs until there is a reason to exit.

        Raises ServiceError if the task database cannot be reached at the start; later outages are waited out.
        """
        self.database.ping()
        LOG.info("looking for jobs to run in %s", self.database.safe_url)
        maintenance = threading.Thread(target=self._run_maintenance, name="maintenance", daemon=True)
        maintenance.start()
        try:
            if self.options.stand_by:
                self._stand_by()
            self.active = True
            self._supervise()
        finally:
            self.active = False
            self._leave.set()
            for thread in list(self._running.values()):
                thread.join()
            maintenance.join(5.0)
            with contextlib.suppress(EASError):  # it expires by itself
                self._lease.release()
        return self.stats

    def _stand_by(self) -> None:
        """Wait until no other supervisor is alive."""
        logged_at = -LOG_INTERVAL
        while not self.stop.is_set():
            now = time.monotonic()
            try:
                if self._lease.hold():
                    return
                state = "another supervisor is alive: standing by"
            except EASError as error:
                state = f"the supervisor's lease cannot be read: {error}"
            if now - logged_at >= LOG_INTERVAL:
                logged_at = now
                LOG.info(state)
            self.stop.wait(STANDBY_INTERVAL)

    def _supervise(self) -> None:
        began = busy = time.monotonic()
        options = self.options
        with self.database.wakeups.listen(JOBS) as self._listener:
            while not self.stop.is_set():
                now = time.monotonic()
                self.check()
                if self._poll(now):
                    busy = now
                if options.until_idle is not None and now - busy >= options.until_idle:
                    LOG.info("no job to run for %g s: exiting", options.until_idle)
                    return
                if options.time_limit is not None and now - began >= options.time_limit:
                    LOG.info("the time limit of %g s is reached: exiting", options.time_limit)
                    return
                self._wait(self._listener)
        LOG.info("stop requested: exiting")

    def _poll(self, now: float) -> bool:
        """Query for jobs if that is due and adopt as many as may run; return whether any job is open."""
        while not self._ended.empty():
            self._running.pop(self._ended.get()).join()
        looked = now >= self._next_poll
        if looked:
            self._busy = self._find_jobs()
            over = time.monotonic()
            self._earliest_poll = over + min((over - now) / MAX_POLL_SHARE, MAX_POLL_INTERVAL)
            self._next_poll = max(now + POLL_INTERVAL, self._earliest_poll)
        while self._adoptable_jobs and len(self._running) < self.options.max_jobs:
            row = self._adoptable_jobs.popleft()
            if looked or self._still_adoptable(row):
                self._adopt(row)
        return self._busy or bool(self._running)

    def _still_adoptable(self, row: AnyRow) -> bool:
        """Return whether a job that an earlier look has found is still open, and driven by no process."""
        try:
            now = self.database.fetch(lambda c: unfinished_jobs.open_leases(c, row.id))
        except EASError:
            return False  # the next query finds it again
        return any(self._adoptable(each) for each in now)

    def _wait(self, listener: Listener) -> None:
        """Wait for the next look, the end of a job, or the announcement of a submission; at most ``POLL_INTERVAL``."""
        woken = listener.wait(min(POLL_INTERVAL, max(0.0, self._next_poll - time.monotonic())))
        if woken and self._ended.empty():
            self._next_poll = self._earliest_poll

    def _find_jobs(self) -> bool:
        """Find jobs that no process drives; return whether any job is unfinished, here or elsewhere."""
        try:
            self._renew_lease()
            unfinished = self.database.fetch(unfinished_jobs.open_leases)
        except EASError as error:
            LOG.warning("the jobs cannot be read: %s", error)
            return True
        self._drop_ended({row.id for row in unfinished})
        open_jobs = [row for row in unfinished if self._paused.get(row.id) != row.revision]
        self._log_state(len(open_jobs))
        adoptable = filter(self._adoptable, open_jobs)
        self._adoptable_jobs = deque(sorted(adoptable, key=lambda row: (row.priority, row.id)))
        return bool(open_jobs or self._running)

    def _drop_ended(self, unfinished: set[int]) -> None:
        for memory in (self._failures, self._paused):
            for job_id in memory.keys() - unfinished - self._running.keys():
                del memory[job_id]

    def _adoptable(self, row: AnyRow) -> bool:
        """Return whether no living process drives a job, and it is not waiting for another attempt."""
        failures = self._failures.get(row.id)
        if row.id in self._running or (failures is not None and time.monotonic() < failures.retry_at):
            return False
        driven = job_lease.is_driven(row, self.database.now(), self.options.lease)
        return not driven or process_identity.is_dead_here(row.driver)

    def _adopt(self, row: AnyRow) -> None:
        LOG.info("job %d (%s): adopted", row.id, row.name)
        thread = threading.Thread(target=self._run_one, args=(row.id, row.revision), name=f"job {row.id}", daemon=True)
        self._running[row.id] = thread
        thread.start()

    def _run_one(self, job_id: int, revision: int) -> None:
        """Run one job in its thread; catch all its errors, because they must not affect other jobs."""
        try:
            self.run_job(job_id, self._leave)
            self._record_outcome(job_id, revision)
        except LostLeaseError as error:
            LOG.info("job %d: left to another process: %s", job_id, error.what)
            self._failures.setdefault(job_id, _Failures()).retry_at = time.monotonic() + MIN_RETRY_DELAY
        except Exception as error:
            self.stats.errors += 1
            self._record_failure(job_id, revision, error)
        finally:
            self._ended.put(job_id)
            if self._listener is not None:
                self._listener.wake()

    def _record_failure(self, job_id: int, revision: int, error: Exception) -> None:
        """Decide after an error whether a job is tried again later, or has failed permanently."""
        failures = self._failures.setdefault(job_id, _Failures())
        pause = min(MIN_RETRY_DELAY * 2**failures.total, MAX_RETRY_DELAY)
        failures.total += 1
        failures.retry_at = time.monotonic() + pause
        # EAS errors need no traceback, and that of an SQL error would show users' values.
        trace = None if isinstance(error, EASError | StatementError) else error
        reason = _reason(error)
        LOG.warning("job %d cannot be run; next attempt in %.0f s: %s", job_id, pause, reason, exc_info=trace)
        if isinstance(error, ServiceError):
            return  # an outage is no fault of the job, however long it lasts
        try:
            counts = self.database.fetch(lambda c: progress.counts(c, [job_id])[job_id])
            if failures.count(reason, sorted(map(str, counts.items()))) >= MAX_EQUAL_FAILURES:
                why = f"its orchestrator failed {MAX_EQUAL_FAILURES} times without progress: {reason}"
                if fail_job(self.database, self.queue, job_id, why[:MAX_REASON_CHARS], revision):
                    LOG.error("job %d failed: %s", job_id, why)
                    self.stats.failed += 1
        except Exception as second:  # database unreachable, or another driver has the job: count the next failure
            LOG.warning("job %d: its failure was not recorded: %s", job_id, second)

    def _record_outcome(self, job_id: int, revision: int) -> None:
        """Record how a run ended: job ended, paused or released; raise EASError if it is none of these."""
        summary = summarise(self.database, job_id)
        state = JobState(summary.state)
        if state.final:
            LOG.info("job %d (%s): %s; %s", job_id, summary.job_name, state, summary.message)
            self._failures.pop(job_id, None)
            counted = {JobState.DONE: "done", JobState.CANCELLED: "cancelled"}.get(state, "failed")
            setattr(self.stats, counted, getattr(self.stats, counted) + 1)
        elif (held := self.database.fetch(lambda c: job_selection.withdrawn_tasks(c, job_id))).tasks:
            self._paused[job_id] = held.revision
            LOG.info("job %d is paused: %d of its tasks were withdrawn (eas reschedule)", job_id, held.tasks)
        elif not self._leave.is_set() and held.revision == revision:
            raise EASError(f"the run of job {job_id} ended before the job was over")

    def _renew_lease(self) -> None:
        if time.monotonic() >= self._lease_due:
            self._lease_due = time.monotonic() + LEASE_INTERVAL
            # Another supervisor may hold it: reports only need to know that one is alive.
            self._lease.hold()

    def _log_state(self, unfinished: int) -> None:
        if time.monotonic() - self._logged_at >= LOG_INTERVAL and unfinished:
            self._logged_at = time.monotonic()
            driven = ", ".join(map(str, sorted(self._running))) or "none"
            LOG.info("%d jobs unfinished; driven here: %s", unfinished, driven)

    def _run_maintenance(self) -> None:
        """Run maintenance in a separate thread: a broker that does not answer must not delay jobs."""
        lease = self.options.heartbeat_lease
        while not self._leave.wait(min(lease / 2, reaper.MAX_REAP_INTERVAL) / 2):
            try:
                reaper.run_due(self.database, self.queue, lease)
            except Exception as error:
                LOG.warning("the maintenance pass failed: %s", error)


def _reason(error: Exception) -> str:
    """Return why running a job failed: one line, without the values of SQL parameters."""
    if isinstance(error, EASError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error.orig if isinstance(error, StatementError) else error}"
    return " ".join(text.split())
