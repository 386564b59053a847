"""The task type ``ingest_external_lcs``: imports external light curves as file products."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from eas.errors import TaskFailure
from eas.lightcurves import astropy_tables, files, lcsg
from eas.lightcurves.lightcurve import LightCurve, LightCurveError
from eas.model import Check, Metadata, Scalar
from eas.tasks.base import Task, TaskContext
from eas.tasks.declarations import INPUT_PATH, LC_TYPE
from eas.tasks.lightcurves import check_lightcurve, warn

READERS: Final = {"lcsg": lcsg.read, "fits": astropy_tables.read_fits, "ecsv": astropy_tables.read_ecsv}
"""By ``lc_type``."""
MAX_LISTED_FILES: Final = 10


class IngestExternalLCs(Task):
    """Makes one file product of each file that the glob ``input_path`` finds below the input directory.

    A product has the file's name, in the task's working directory, and is an ordinary light curve file that tasks
    of any job can read. The metadata of the file (LCSG: comments; FITS: headers; ECSV: header) are written to its
    comments, so that a search finds ``orbital_period``. Assumptions are logged. A file that cannot be read fails the
    attempt with an error that names file and line; the other products are kept.
    """

    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Read and write each file; raise TaskFailure naming those that are bad, after all others."""
        read = _reader(context)
        problems: list[str] = []
        count = 0
        for path in _found(context):
            try:
                lightcurve = read(path)
                warn(context, path.name, lightcurve)
            except LightCurveError as error:
                context.log.error("%s", error.what)
                problems.append(error.what)
                continue
            _write(context, path.name, lightcurve)
            count += 1
        context.log.info("%d light curves ingested", count)
        if problems:
            more = f"; and {len(problems) - MAX_LISTED_FILES} more" if len(problems) > MAX_LISTED_FILES else ""
            raise TaskFailure(
                f"{len(problems)} of {len(problems) + count} files cannot be ingested: "
                f"{'; '.join(problems[:MAX_LISTED_FILES])}{more}",
                hint="correct or remove these files and run the task again; the others are ingested already",
            )
        return {}

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check that at least one file was ingested; `check_new` checks each product."""
        count = len(context.new_outputs)
        return [Check("light curves ingested", count > 0, f"{count} files")]

    def check_new(self, context: TaskContext, file_name: str, path: Path) -> Sequence[Check]:
        """Check that a product is a light curve."""
        return check_lightcurve(file_name, path)


def _reader(context: TaskContext) -> lcsg.Reader:
    kind = context.settings.get(LC_TYPE.name, LC_TYPE.default)
    if kind not in READERS:
        raise TaskFailure(f"lc_type is {kind!r}", hint=f"give one of {', '.join(READERS)}")
    return READERS[kind]


def _found(context: TaskContext) -> list[Path]:
    """Return the files that ``input_path`` finds, by name; raise TaskFailure for none, or two of one name."""
    pattern = context.settings.get(INPUT_PATH.name)
    root = context.input_directory.resolve()
    if not isinstance(pattern, str) or not pattern.strip():
        raise TaskFailure(f"input_path is {pattern!r}", hint=f"give a glob for files below {root}, as lcs/*.csv")
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise TaskFailure(f"input_path {pattern!r} leaves the input directory", hint=f"give a path below {root}")
    found = sorted(_files(root, pattern), key=lambda path: (path.name, path))
    if not found:
        raise TaskFailure(f"no file below {root} matches {pattern!r}", hint="correct input_path, or put files there")
    for one, other in itertools.pairwise(found):
        if one.name == other.name:
            raise TaskFailure(
                f"two files have the name {one.name}: {one.relative_to(root)} and {other.relative_to(root)}",
                hint="ingest them in two tasks with different working directories",
            )
    return found


def _files(root: Path, pattern: str) -> Iterator[Path]:
    for path in root.glob(pattern):
        # A symbolic link must not give access to files outside the input directory.
        if path.is_file() and path.resolve().is_relative_to(root):
            yield path


def _write(context: TaskContext, name: str, lightcurve: LightCurve) -> None:
    files.write(context.new_output(name), lightcurve, with_metadata=True)
