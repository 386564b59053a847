"""Tasks and file products of the Python interface."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from sqlalchemy import select

from eas.api import session
from eas.errors import RequestError, UnknownTaskError
from eas.html_tables import cell
from eas.lightcurves import files as lightcurve_files
from eas.lightcurves.lightcurve import LightCurve
from eas.plain_text import size_text, value_text
from eas.states import TaskState
from eas.taskdb import tables
from eas.taskdb.queries import file_list, logs, task_details
from eas.taskdb.queries.task_report import task_report

if TYPE_CHECKING:
    import pandas as pd
    from astropy.timeseries import TimeSeries


class Task:
    """A task of a job. Every property reads the database when it is used.

    Parameters
    ----------
    id:
        Its number.

    Examples
    --------
    >>> task = job(1).tasks(task_type="verify")["task_id"][0]
    >>> Task(task).label
    'verify "check" [size=0.1]'
    """

    def __init__(self, id: int) -> None:  # noqa: A002 - the name that users read
        self.id = int(id)

    @classmethod
    def _find(cls, job_id: int, task: int | str) -> Self:
        """Return a task of a job by its id, or by its name where that is unique; see `Job.task`."""
        table = tables.tasks
        column = table.c.name if isinstance(task, str) else table.c.id
        query = select(table.c.id).where(table.c.job_id == job_id, column == task).order_by(table.c.id).limit(3)
        found = list(session.app().database.fetch(lambda connection: connection.execute(query).scalars().all()))
        if not found:
            raise UnknownTaskError(f"job {job_id} has no task {task!r}", hint="its tasks: job.tasks()")
        if len(found) > 1:
            raise RequestError(f"several tasks of job {job_id} are called {task!r}", hint="give an id: job.tasks()")
        return cls(found[0])

    def __repr__(self) -> str:
        return f"Task({self.id})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Task) and other.id == self.id

    def __hash__(self) -> int:
        return hash(("task", self.id))

    def _repr_html_(self) -> str:
        """Return the task as a table, for notebooks."""
        report = self.report()
        files = [(each["semantic"], each["name"]) for each in (*report["inputs"], *report["outputs"])]
        sections = {
            "": {"state": report["state"], "reason": self.reason},
            "settings": dict(_flat(report["settings"])),
            "inherited metadata": report["metadata"],
            "files": dict(files),
            "results": report["output_metadata"],
        }
        return _table(f"task {self.id} {report['label']}", sections)

    def report(self) -> dict[str, Any]:
        """Return the full report on the task, as ``eas show --json`` prints it; times are Unix times [s].

        Raises
        ------
        UnknownTaskError
            There is no such task.

        Examples
        --------
        >>> sorted(job(1).task("broken").report())[:3]
        ['above', 'address', 'attempts']
        """
        app = session.app()
        now = app.database.now()
        return app.database.fetch(lambda connection: task_report(connection, self.id, now, app.settings.lease))

    @property
    def label(self) -> str:
        """Its type, name and loop values.

        Examples
        --------
        >>> job(1).task("broken").label
        'error "broken"'
        """
        return str(self.report()["label"])

    @property
    def state(self) -> str:
        """``waiting``, ``queued``, ``running``, ``done``, ``failed``, ``stalled``, ``blocked`` or ``cancelled``.

        Examples
        --------
        >>> job(1).task("broken").state
        'failed'
        """
        return str(self.report()["state"])

    @property
    def reason(self) -> str:
        """Why it failed or is blocked; empty where it did not.

        Examples
        --------
        >>> job(1).task("broken").reason.splitlines()[0]
        "eas.tasks.trivial.DeliberateError: a task of type 'error' always fails"
        """
        report = self.report()
        if report["state"] in (TaskState.FAILED, TaskState.STALLED) and report["attempts"]:
            return str(report["reason"] or report["attempts"][-1]["reason"] or "")
        return str(report["reason"] or "")

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings, after the evaluation of expressions.

        Examples
        --------
        >>> Task(curve).settings["specs"]["planet_radius"]
        0.1
        """
        return dict(self.report()["settings"])

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata that it inherited, loop values among them.

        Examples
        --------
        >>> Task(curve).metadata
        {'size': 0.1, 'size_index': 0}
        """
        return dict(self.report()["metadata"])

    @property
    def results(self) -> dict[str, Any]:
        """Its output metadata, such as ``outcome`` and ``period`` [days]; empty until it is done.

        Examples
        --------
        >>> Task(curve).results["orbital_period"]
        3
        """
        return dict(self.report()["output_metadata"])

    @property
    def inputs(self) -> dict[str, Product]:
        """The file products that it reads, by semantic name; without those that do not exist yet.

        Examples
        --------
        >>> check = Task(job(1).tasks(task_type="verify")["task_id"][0])
        >>> {name: product.name for name, product in check.inputs.items()}
        {'lightcurve': 'curve_0.lc'}
        """
        return self._products("in")

    @property
    def outputs(self) -> dict[str, Product]:
        """The file products that it made, by semantic name.

        Examples
        --------
        >>> {name: product.name for name, product in Task(curve).outputs.items()}
        {'lightcurve': 'curve_0.lc'}
        """
        return self._products("out")

    def _products(self, direction: str) -> dict[str, Product]:
        database = session.app().database
        found = database.fetch(lambda c: task_details.files(c, task_details.get(c, self.id)))
        return {
            each.semantic if not each.dynamic else f"{each.semantic}: {each.name}": Product(each.version.id)
            for each in found
            if each.direction == direction and each.version is not None
        }

    def log(self, *, level: str = "debug") -> pd.DataFrame:
        """Return the log of its attempts, in order: time (UTC), attempt, level, logger, message, traceback.

        Parameters
        ----------
        level:
            Minimum level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``.

        Raises
        ------
        RequestError
            There is no such level.

        Examples
        --------
        >>> job(1).task("broken").log(level="error")["level"].tolist()
        ['ERROR']
        """
        from reports.typed import log_frame

        if level not in logs.LEVELS:
            raise RequestError(f"there is no level {level!r}", hint=f"the levels are: {', '.join(logs.LEVELS)}")
        database = session.app().database
        least = logs.LEVELS[level]
        with database.read() as connection:
            attempts = {row.id: row.number for row in task_details.attempts(connection, self.id)}
            entries = [each for attempt in attempts for each in _whole_log(connection, attempt, least)]
        return log_frame(entries, attempts)


class Product:
    """One stored version of a file product.

    Parameters
    ----------
    version_id:
        Its number.

    Examples
    --------
    >>> product = Task(curve).outputs["lightcurve"]
    >>> product.name
    'curve_0.lc'
    """

    def __init__(self, version_id: int) -> None:
        self.version_id = int(version_id)

    def __repr__(self) -> str:
        return f"Product({self.version_id})"

    def _repr_html_(self) -> str:
        """Return the file's name, size and metadata as a table, for notebooks."""
        stored = self._stored()
        return _table(stored.file_name, {"": {"size": size_text(stored.size)}, "metadata": stored.metadata})

    def _stored(self) -> Any:
        return session.app().database.fetch(lambda connection: file_list.version(connection, self.version_id))

    @property
    def name(self) -> str:
        """Its file name.

        Examples
        --------
        >>> Task(curve).outputs["lightcurve"].name
        'curve_0.lc'
        """
        return str(self._stored().file_name)

    @property
    def metadata(self) -> dict[str, Any]:
        """The output metadata of the task that made it.

        Examples
        --------
        >>> Task(curve).outputs["lightcurve"].metadata["planet_radius"]
        0.1
        """
        return dict(self._stored().metadata)

    def open(self) -> IO[bytes]:
        r"""Open the file for reading, in binary mode; its checksum has been verified.

        Raises
        ------
        ChecksumError
            The file is missing, or differs from the recorded size or checksum.
        ServiceError
            The file store cannot be reached.

        Examples
        --------
        >>> with Task(curve).outputs["lightcurve"].open() as stream:
        ...     stream.read(2)
        b'\x1f\x8b'
        """
        with tempfile.TemporaryDirectory() as folder:
            # An open file remains readable after its directory entry is removed.
            return session.app().store.local_copy(self._stored(), Path(folder)).open("rb")

    def read(self) -> LightCurve:
        """Return the light curve: n samples of ``times`` [days], ``fluxes`` (relative), ``flags``, ``uncertainties``.

        Each is a numpy array of shape (n,).

        Raises
        ------
        LightCurveError
            The file is no light curve.

        Examples
        --------
        >>> lightcurve = Task(curve).outputs["lightcurve"].read()
        >>> lightcurve.times.shape, round(lightcurve.cadence)
        ((2880,), 600)
        """
        stored = self._stored()
        with tempfile.TemporaryDirectory() as folder:
            return lightcurve_files.read(session.app().store.local_copy(stored, Path(folder)), stored.metadata)

    def light_curve(self) -> TimeSeries:
        """Return the light curve as a time series of astropy; its metadata are in ``meta``.

        Columns: ``time`` (a TimeDelta), ``flux`` and ``flux_err`` (relative, dimensionless), ``good`` (bool).

        Raises
        ------
        RequestError
            astropy is not installed; `read` gives numpy arrays without it.
        LightCurveError
            The file is no light curve.

        Examples
        --------
        >>> series = Task(curve).outputs["lightcurve"].light_curve()
        >>> len(series), series.colnames
        (2880, ['time', 'flux', 'flux_err', 'good'])
        """
        from eas.lightcurves.astropy_tables import to_time_series

        return to_time_series(self.read())


def _whole_log(connection: Any, attempt_id: int, level: int) -> list[Any]:
    found: list[Any] = []
    while part := task_details.log(connection, attempt_id, level=level, after=found[-1].id if found else 0):
        found += part
    return found


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield settings, those of a dictionary such as ``specs`` one by one."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", member) for key, member in value.items())
        else:
            yield name, value


def _table(title: str, sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of names and values below headings; nothing in them is taken for HTML."""
    parts = []
    for heading, values in sections.items():
        rows = [(name, value) for name, value in values.items() if value not in (None, "")]
        if rows and heading:
            parts.append(f'<tr><th colspan="2">{heading}</th></tr>')
        parts += [f"<tr><td>{cell(name)}</td><td>{cell(value_text(value))}</td></tr>" for name, value in rows]
    return f"<p><b>{cell(title)}</b></p><table>{''.join(parts)}</table>"
