"""Expands control tasks: configures the descriptors of their children with inherited metadata."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from eas import column_sizes
from eas.chains.configure import TaskConfigurator, ValueCache
from eas.chains.evaluator import Scope
from eas.chains.expressions import evaluate_checked
from eas.chains.grammar import Chain
from eas.chains.json_reader import json_type_name
from eas.chains.limits import NotAllowedError
from eas.chains.parser import identifier_fault
from eas.chains.paths import joined_path
from eas.chains.ranges import loop_values
from eas.chains.siblings import Siblings
from eas.chains.syntax import is_expression
from eas.chains.tree import Conditional, Descriptor, DoWhile, ExecutionChain, Expression, Part, Undetermined
from eas.errors import ChainError, ExpressionError, MissingMetadataError, Problem
from eas.model import CHAIN, CONDITIONAL, DO_WHILE, FOR_LOOP, LoopMetadata, Metadata, Scalar, TaskSpec
from eas.names import index_name
from eas.registry import Registry

Requested = Mapping[str, Mapping[str, Any]]
"""Name of a sibling (or child) to its output metadata."""
OnError = Callable[[ChainError], None]
_LONGEST_ADDRESS = column_sizes.ADDRESS - len(".1000000")


class Expander:
    """Expands the control tasks of one job.

    The state depends only on the chain, so an expander created after a restart returns the same children,
    including random numbers.

    Parameters
    ----------
    chain:
        The job's chain.
    registry:
        Task types that exist.
    seed:
        The job's seed. Random numbers depend on it, on the task's address and on the key.
    """

    def __init__(self, chain: Chain, registry: Registry, seed: str) -> None:
        self.chain = chain
        self.registry = registry
        self.seed = seed
        self._memory: ValueCache = {}

    def names(self) -> tuple[str | None, str | None]:
        """Return the evaluated job name and working directory of the chain; None for one that it does not give.

        Raises ChainError if one of them cannot be evaluated or is not a valid name.
        """
        configuration = TaskConfigurator(self.registry, self.chain.source, self.root("", ""), f"{self.seed}|")
        spec = configuration.configure(self.chain.root, "")
        return spec.job_name or None, spec.working_directory or None

    def root(self, job_name: str, working_directory: str) -> TaskSpec:
        """Return the task of the whole chain."""
        return TaskSpec("", "", CHAIN, None, job_name, working_directory, {}, {}, {}, {})

    def descriptor(self, spec: TaskSpec) -> Descriptor:
        """Return the descriptor of a task in the chain."""
        return self.chain.nodes[spec.path]

    def children(
        self,
        spec: TaskSpec,
        *,
        iteration: int | None = None,
        branch: bool | None = None,
        on_error: OnError | None = None,
    ) -> Iterator[TaskSpec]:
        """Yield the children of a control task, in order.

        ``iteration`` (from 1) is required for a do-while loop, ``branch`` for a conditional. A child that cannot
        be configured raises ChainError; with ``on_error``, that function is called instead, and the next child follows.
        """
        if spec.task_type == CHAIN:
            return self._listed(spec, self._tasks(spec), on_error)
        if spec.task_type == FOR_LOOP:
            return self._for_loop(spec)
        if spec.task_type == DO_WHILE:
            if iteration is None:
                raise ValueError("which iteration of the do-while loop?")
            return self._iteration(spec, iteration)
        if spec.task_type == CONDITIONAL:
            if branch is None:
                raise ValueError("which branch of the conditional?")
            return self._listed(spec, self._tasks(spec, branch=branch), on_error)
        raise ValueError(f"task type {spec.task_type} has no children")

    def criterion(self, spec: TaskSpec) -> bool:
        """Return which branch of a conditional to run; its criterion must have been evaluated."""
        value = spec.settings["criterion"]
        if is_expression(value):
            self.fail(spec.path, "criterion", "waits for metadata that is not there yet", "configure the task again")
        return bool(value)

    def repeat(self, spec: TaskSpec, iteration: int, requested: Requested | None) -> bool:
        """Return whether another iteration follows ``iteration`` (from 1) of a do-while loop.

        ``requested`` holds the output metadata of that iteration's children.
        Raises MissingMetadataError if it is None and the criterion reads it.
        """
        criterion = self._repeat_criterion(spec)
        if not isinstance(criterion, Expression):
            return bool(criterion.value)
        scope = Scope(
            self._iteration_metadata(spec, iteration), requested, f"{self.seed}|{spec.address}.{iteration - 1}"
        )
        try:
            return bool(evaluate_checked(criterion.value, criterion.parsed, scope, "repeat_criterion"))
        except MissingMetadataError:
            raise
        except ExpressionError as error:
            self.fail(spec.path, "repeat_criterion", error.what, error.hint)

    def repeat_names(self, spec: TaskSpec) -> tuple[str, ...]:
        """Return the names of the children whose metadata a do-while loop's criterion asks for."""
        names = spec.settings.get("requires_metadata_from_child", ())
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            self.fail(spec.path, "requires_metadata_from_child", "must be a list of names", "give names of children")
        return tuple(names)

    def check_child_names(self, spec: TaskSpec, chain: TaskSpec) -> None:
        """Check that a do-while loop's ``requires_metadata_from_child`` names children of an iteration's ``chain``.

        Raises ChainError if one is unknown.
        """
        names = self.repeat_names(spec)
        if not names:
            return
        children = Siblings(child.name for child in self.children(chain, on_error=lambda error: None))
        for index, name in enumerate(names):
            if problem := children.child_problem(name):
                self.fail(spec.path, f"requires_metadata_from_child[{index}]", *problem)

    def reconfigure(self, spec: TaskSpec, requested: Requested) -> TaskSpec:
        """Return a pending task fully configured with the metadata that it requested."""
        if not spec.pending:
            return spec
        configuration = TaskConfigurator(self.registry, self.chain.source, spec, f"{self.seed}|", requested=requested)
        return configuration.configure(self.descriptor(spec), spec.address)

    def reads_metadata(self, spec: TaskSpec) -> bool:
        """Return whether a do-while loop's ``repeat_criterion`` reads its children's metadata."""
        criterion = self._repeat_criterion(spec)
        return isinstance(criterion, Expression) and criterion.parsed.uses_requested

    def fail(self, path: str, key: str, message: str, hint: str) -> NoReturn:
        """Raise the ChainError of one problem at ``key`` of the descriptor at ``path``."""
        raise ChainError(self.chain.source, [Problem(joined_path(path, key), message, hint)])

    def _tasks(self, spec: TaskSpec, *, branch: bool = True) -> tuple[Descriptor, ...]:
        found = self.descriptor(spec)
        if isinstance(found, Conditional) and not branch:
            return found.else_tasks
        assert isinstance(found, ExecutionChain)
        return found.tasks

    def _repeat_criterion(self, spec: TaskSpec) -> Part:
        found = self.descriptor(spec)
        assert isinstance(found, DoWhile | Undetermined)
        return found.repeat_criterion

    def _listed(self, spec: TaskSpec, tasks: Iterable[Descriptor], on_error: OnError | None) -> Iterator[TaskSpec]:
        configuration = TaskConfigurator(self.registry, self.chain.source, spec, f"{self.seed}|", memory=self._memory)
        siblings = Siblings()
        before = self._address(spec)
        for ordinal, each in enumerate(tasks):
            try:
                child = configuration.configure(each, f"{before}{ordinal}")
                for index, name in enumerate(child.requires):
                    if problem := siblings.name_problem(name):
                        self.fail(child.path, f"requires_metadata_from[{index}]", *problem)
            except ChainError as error:
                if on_error is None:
                    raise
                on_error(error)
                continue
            siblings.advance(child.name)
            yield child

    def _address(self, spec: TaskSpec) -> str:
        """Return the prefix of the addresses of a task's children."""
        if len(spec.address) > _LONGEST_ADDRESS:
            self.fail(spec.path, "", "is nested too deeply", "use fewer loops within loops")
        return f"{spec.address}." if spec.address else ""

    def _for_loop(self, spec: TaskSpec) -> Iterator[TaskSpec]:
        try:
            values = loop_values(spec.settings)
        except NotAllowedError as error:
            self.fail(spec.path, "", error.what, error.hint)
        parameter = self._identifier(spec, "parameter")
        indexed = index_name(parameter)
        places = {name: place for place, name in enumerate(dict.fromkeys([*spec.metadata, parameter, indexed]))}
        inherited = [spec.metadata.get(name) for name in places]

        def metadata(index: int, value: Scalar) -> Metadata:
            inherited[places[parameter]], inherited[places[indexed]] = value, index
            return LoopMetadata(places, tuple(inherited))

        return self._chains(spec, itertools.starmap(metadata, enumerate(values)), 0)

    def _iteration(self, spec: TaskSpec, iteration: int) -> Iterator[TaskSpec]:
        return self._chains(spec, [self._iteration_metadata(spec, iteration)], iteration - 1)

    def _iteration_metadata(self, spec: TaskSpec, iteration: int) -> dict[str, Any]:
        return {**spec.metadata, index_name(self._identifier(spec, "iteration_name")): iteration}

    def _chains(self, spec: TaskSpec, metadata: Iterable[Metadata], first: int) -> Iterator[TaskSpec]:
        before = self._address(spec)
        for ordinal, inherited in enumerate(metadata, first):
            yield TaskSpec(
                f"{before}{ordinal}", spec.path, CHAIN, None, spec.job_name, spec.working_directory, inherited,
                _NOTHING, _NOTHING, _NOTHING,
            )  # fmt: skip

    def _identifier(self, spec: TaskSpec, key: str) -> str:
        value = spec.settings.get(key)
        if is_expression(value) or identifier_fault(value):
            what = f"{value!r} is no name" if isinstance(value, str) else f"is {json_type_name(value)}"
            self.fail(spec.path, key, what, "use letters, digits and _, beginning with a letter")
        assert isinstance(value, str)
        return value.strip()


_NOTHING: dict[str, Any] = {}
