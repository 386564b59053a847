"""Base class of task types (code and QC), and the context that both receive."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eas.errors import TaskFailure
from eas.model import Check, InputProduct, Metadata, Scalar


@dataclass(frozen=True)
class TaskContext:
    """Everything that a task's code receives.

    Attributes
    ----------
    task_type:
        Its type, for messages.
    settings:
        The descriptor's other keys (``specs``, ``cadence``, ...), evaluated.
    metadata:
        Metadata inherited from its ancestors, including loop values.
    inputs:
        Semantic name to the version to read.
    outputs:
        Semantic name to the path to write; the worker stores the file afterwards.
    scratch:
        An empty directory for temporary files, removed afterwards; also the working directory.
    input_directory:
        Folder of external data that no task made (``ingest_external_lcs``).
    new_directory:
        Folder for dynamic outputs, see ``new_output``; None if the task type must not make any.
    new_outputs:
        Dynamic outputs so far, by the name of the file product.
    threads:
        CPUs assigned to the worker.
    seed:
        Derived from the job's seed and the task's address in the chain, so it is the same in every attempt.
    log:
        Logger whose messages `eas logs` shows.

    Examples
    --------
    >>> context.settings.get("cadence", 25.0), sorted(context.inputs), sorted(context.outputs)
    (25.0, ['lightcurve'], ['debugging'])
    """

    task_type: str
    settings: Mapping[str, Any]
    metadata: Metadata
    inputs: Mapping[str, InputProduct]
    outputs: Mapping[str, Path]
    scratch: Path
    input_directory: Path
    new_directory: Path | None = None
    new_outputs: dict[str, Path] = field(default_factory=dict)
    threads: int = 1
    seed: int = 0
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("eas.task"))

    def input(self, name: str) -> InputProduct:
        """Return an input.

        Parameters
        ----------
        name:
            Its semantic name.

        Raises
        ------
        TaskFailure
            The chain gives no such input.

        Examples
        --------
        >>> context.input("lightcurve").file_name
        'input.lc'
        """
        try:
            return self.inputs[name]
        except KeyError:
            raise TaskFailure(
                f"{self.task_type} needs the input {name!r}", hint="give it in the task's `inputs`"
            ) from None

    def output(self, name: str) -> Path:
        """Return the path to write an output to.

        Parameters
        ----------
        name:
            Its semantic name.

        Raises
        ------
        TaskFailure
            The chain gives no such output.

        Examples
        --------
        >>> context.output("plot")
        Traceback (most recent call last):
        eas.errors.TaskFailure: example needs the output 'plot'
          -> give it in the task's `outputs`
        """
        try:
            return self.outputs[name]
        except KeyError:
            raise TaskFailure(
                f"{self.task_type} needs the output {name!r}", hint="give it in the task's `outputs`"
            ) from None

    def new_output(self, file_name: str) -> Path:
        """Register a dynamic output (a file product that the chain does not name); return the path to write it to.

        For task types with ``dynamic_outputs`` in the registry.

        Parameters
        ----------
        file_name:
            Its name in the working directory.

        Raises
        ------
        TaskFailure
            The task type has no ``dynamic_outputs``, or the name was given before.

        Examples
        --------
        >>> ingesting = replace(context, new_directory=folder)
        >>> ingesting.new_output("star_1.lc").name
        'new-0'
        """
        if self.new_directory is None:
            raise TaskFailure(
                f"{self.task_type} must not make {file_name!r}, which is not one of its outputs",
                hint="set dynamic_outputs in the registry's entry of the task type",
            )
        if not file_name or file_name in self.new_outputs or file_name in self.outputs:
            raise TaskFailure(f"{self.task_type} makes the file product {file_name!r} twice", hint="choose other names")
        path = self.new_outputs[file_name] = self.new_directory / f"new-{len(self.new_outputs)}"
        return path


class Task(ABC):
    """Base class of task types. Third parties register subclasses by an entry point.

    An instance is used for one attempt: ``run`` and then ``check`` in the worker's child process. After a crash
    ``check`` runs in a new process, with ``metadata`` None.

    Examples
    --------
    >>> class Depth(Task):
    ...     def run(self, context):
    ...         curve = read_input(context, "lightcurve")
    ...         return {"depth": 1 - float(curve.fluxes.min())}
    ...
    ...     def check(self, context, metadata):
    ...         return check_metadata(metadata, ["depth"])
    >>> metadata = Depth().run(context)
    >>> round(metadata["depth"], 2), [each.passed for each in Depth().check(context, metadata)]
    (0.01, [True])
    """

    @abstractmethod
    def run(self, context: TaskContext) -> Mapping[str, Scalar]:
        """Do the work and return the output metadata (numbers, strings, booleans, None).

        Parameters
        ----------
        context:
            Settings, inputs, outputs and all else that the code gets to see.

        Raises
        ------
        TaskFailure
            A failure with a known reason. Any other exception fails the attempt, too, with its traceback.

        Examples
        --------
        >>> class Mean(Task):
        ...     def run(self, context):
        ...         return {"mean_flux": finite(read_input(context, "lightcurve").fluxes.mean())}
        >>> round(Mean().run(context)["mean_flux"], 3)
        0.999
        """

    def check(self, context: TaskContext, metadata: Metadata | None) -> Sequence[Check]:
        """Check the results of ``run``; any failed check fails the attempt.

        The default checks only that every output exists and is not empty.

        Parameters
        ----------
        context:
            The same as that of ``run``.
        metadata:
            What ``run`` returned; None where it did not return.

        Examples
        --------
        >>> class Idle(Task):
        ...     def run(self, context):
        ...         return {}
        >>> Idle().check(context, Idle().run(context))
        [Check(name='debugging exists', passed=False, detail='was not written')]
        """
        return [exists(name, path) for name, path in context.outputs.items()]

    def check_new(self, context: TaskContext, file_name: str, path: Path) -> Sequence[Check]:
        """Check one dynamic output that ``run`` registered by ``TaskContext.new_output``.

        Any failed check fails the attempt, but products that passed become available even then. The default checks
        that the file exists and is not empty.

        Parameters
        ----------
        context:
            The same as that of ``run``.
        file_name:
            Name of the file product.
        path:
            Its file.

        Examples
        --------
        >>> class Idle(Task):
        ...     def run(self, context):
        ...         return {}
        >>> Idle().check_new(context, "input.lc", folder / "input.lc")[0].passed
        True
        """
        return [exists(file_name, path)]


def exists(name: str, path: Path) -> Check:
    """Check that output ``name`` was written to ``path`` and is not empty. Never raises.

    Parameters
    ----------
    name:
        Name of the output in messages.
    path:
        Where it should be.

    Examples
    --------
    >>> exists("picture", folder / "picture.png")
    Check(name='picture exists', passed=False, detail='was not written')
    """
    size = path.stat().st_size if path.is_file() else None
    detail = "was not written" if size is None else f"{size} bytes"
    return Check(f"{name} exists", bool(size), detail)
