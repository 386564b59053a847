"""Runs one attempt after the other: the task's code, then its QC. Imported by the child only."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eas.errors import TaskFailure
from eas.model import Scalar
from eas.tasks.base import Task, TaskContext
from eas.worker.child_ipc import Channel, ChannelHandler
from eas.worker.protocol import Message, first_line, to_context
from eas.worker.result_validation import storable_text, to_checks, to_metadata
from eas.worker.sandbox import Sandbox
from eas.worker.scratch import Scratch
from eas.worker.usage import UsageMeter

_OUR_CODE = str(Path(__file__).parent) + os.sep
_log = logging.getLogger("eas.worker")


class ChildRunner:
    """Serves the parent's requests; owns the state that lives as long as the child process.

    Parameters
    ----------
    options:
        The parent's first message: ``memory_limit`` [MB] or None, ``recycle_after`` [attempts],
        ``recycle_memory`` [MB], ``threads``, ``input_directory``, ``marker``, ``home``.
    """

    def __init__(self, channel: Channel, options: Mapping[str, Any]) -> None:
        self._channel = channel
        self._options = options
        self._memory_limit: float | None = options["memory_limit"]
        self._sandbox = Sandbox(self._memory_limit, bytes.fromhex(options["marker"]), options["home"])
        self._scratch = Scratch(self._sandbox.leave_scratch)
        self._handler = ChannelHandler(channel)
        self._sandbox.restore(self._handler)
        self._meter = UsageMeter()
        self._classes: dict[str, type[Task]] = {}
        self._input_directory = Path(options["input_directory"])
        self._retire = ""

    def serve(self) -> None:
        """Answer requests until the parent is gone, or this process must be replaced."""
        self._channel.send({"say": "ready", "totals": self._meter.totals, "resident": self._meter.resident})
        count = 0
        while (request := self._channel.next()) is not None:
            answer = self._answer(request)
            count += 1
            answer["retire"] = self._recycle_reason(count)
            self._channel.verify()
            self._sandbox.end_output()
            self._channel.send(answer)
            if answer["retire"]:
                break
        self._scratch.leave()
        self._channel.wait_until_killed()

    def _answer(self, request: Message) -> Message:
        """Run what ``request`` asks for and return the ``result`` message."""
        run, scratch = request["do"] == "run", Path(request["scratch"])
        self._handler.begin()
        started = time.time()
        self._meter.start()
        answer: Message = {"say": "result", "id": request["id"], "started": started}
        try:
            self._scratch.enter(scratch, empty=run)
        except OSError as error:
            answer |= _failed(f"cannot make the scratch directory: {error}")
        else:
            answer |= self._run_and_check(request, run)
            self._scratch.keep_or_remove(scratch)
        usage = self._meter.stop()
        answer["usage"] = (usage.wall, usage.cpu, usage.cpu_children, usage.peak_memory)
        answer["totals"] = self._meter.totals
        answer["ended"] = time.time()
        self._sandbox.restore(self._handler)
        return answer

    def _run_and_check(self, request: Message, run: bool) -> Message:
        """Run the code, unless only QC is requested, then QC; return their fields of the answer."""
        try:
            task = self._load(request["code"])()
        except BaseException as error:
            self._leave_if_forked(error)
            return _failed(self._report(error))
        context = to_context(request, self._input_directory, self._options["threads"])
        metadata: dict[str, Scalar] | None = None
        answer = _failed("")
        if run:
            metadata, answer["reason"] = self._run(task, context)
            answer["metadata"] = metadata or {}
            if type(task).check is not Task.check:  # the default cannot crash or hang
                self._channel.send({"say": "ran", "reason": answer["reason"], "metadata": answer["metadata"]})
        answer["checks"] = self._check(task, context, metadata)
        self._check_dynamic_outputs(task, context, answer)
        return answer

    def _run(self, task: Task, context: TaskContext) -> tuple[dict[str, Scalar] | None, str]:
        """Return the code's metadata, or None and the reason why there is none."""
        try:
            metadata, lost = to_metadata(task.run(context))
        except BaseException as error:
            self._leave_if_forked(error)
            return None, self._report(error)
        self._leave_if_forked(None)
        if lost:
            _log.warning("NaN or infinite values are recorded as null: %s", ", ".join(lost))
        return metadata, ""

    def _check(self, task: Task, context: TaskContext, metadata: dict[str, Scalar] | None) -> list[Any]:
        """Return the results of QC; an exception in QC counts as a failed check."""
        with contextlib.suppress(OSError):
            os.chdir(context.scratch)
        try:
            return to_checks(task.check(context, metadata))
        except BaseException as error:
            self._leave_if_forked(error)
            return [("QC", False, self._report(error))]

    def _check_dynamic_outputs(self, task: Task, context: TaskContext, answer: Message) -> None:
        """Add the dynamic outputs (files that the chain does not name) to ``answer``, each with its own QC."""
        for name, path in context.new_outputs.items():
            try:
                checks = to_checks(task.check_new(context, name, path))
            except BaseException as error:
                self._leave_if_forked(error)
                checks = [("QC", False, self._report(error))]
            answer["checks"] += checks
            answer["new"].append((storable_text(name), str(path), all(passed for _, passed, _ in checks)))

    def _load(self, implementation: str) -> type[Task]:
        found = self._classes.get(implementation)
        if found is None:
            found = self._classes[implementation] = load_class(implementation)
        return found

    def _leave_if_forked(self, error: BaseException | None) -> None:
        """Exit if this is a process forked by the task's code that has returned into the runner."""
        if self._channel.forked:
            code = error.code if isinstance(error, SystemExit) else int(error is not None)
            os._exit(code if isinstance(code, int) else 1)

    def _report(self, error: BaseException) -> str:
        """Log ``error`` with its traceback and return the reason in one line."""
        if isinstance(error, MemoryError):
            self._sandbox.raise_memory_limit()
            self._retire = "it ran out of memory"
        try:
            reason, trace = self._describe(error)
        except BaseException:  # the exception's own __str__ can raise
            reason, trace = type(error).__name__, None
        self._handler.log(time.time(), logging.ERROR, "eas.worker", reason, trace)
        return reason

    def _describe(self, error: BaseException) -> tuple[str, str | None]:
        if isinstance(error, TaskFailure):
            hint = f" ({first_line(storable_text(error.hint))})" if error.hint else ""
            reason = (first_line(storable_text(error.what)) or type(error).__name__) + hint
            return reason, _trace(error) if error.__cause__ else None
        if isinstance(error, SystemExit):
            return f"the task's code called sys.exit({'' if error.code is None else repr(error.code)})", _trace(error)
        if isinstance(error, MemoryError) and self._memory_limit is not None:
            return f"used more than {self._memory_limit:g} MB of memory ({_last_line(error)})", _trace(error)
        return _last_line(error), _trace(error)

    def _recycle_reason(self, count: int) -> str:
        """Return why this process must be replaced after this attempt; an empty string if it can continue."""
        if left := self._sandbox.leftovers():
            return f"the task left {left} running"
        if self._meter.resident > self._options["recycle_memory"]:
            gc.collect()
            self._meter.read_memory()
            if self._meter.resident > self._options["recycle_memory"]:
                return f"it holds {self._meter.resident:.0f} MB"
        if self._retire:
            return self._retire
        return f"it ran {count} attempts" if count >= self._options["recycle_after"] else ""


def _failed(reason: str) -> Message:
    """Return the fields of an answer without results; the caller replaces an empty ``reason``."""
    return {"reason": reason, "metadata": {}, "checks": [], "new": []}


def _last_line(error: BaseException) -> str:
    """Return the kind of ``error`` and the first line of its message, as a traceback ends."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        text = first_line(storable_text(str(error)))
    except BaseException:
        text = "<its message cannot be shown>"
    return f"{name}: {text}" if text else name


def _trace(error: BaseException) -> str:
    """Return the traceback of ``error`` from the task's own code on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OUR_CODE):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def load_class(implementation: str) -> type[Task]:
    """Import and return the class ``module:name`` that implements a task type. Raises TaskFailure for others."""
    module, _, name = implementation.partition(":")
    loaded = getattr(importlib.import_module(module), name)
    if not (isinstance(loaded, type) and issubclass(loaded, Task)):
        raise TaskFailure(f"{implementation} is not a subclass of eas.tasks.base.Task")
    return loaded
