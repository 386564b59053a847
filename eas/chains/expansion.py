"""From a control task to its children: configuring descriptors with what they inherit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from eas.chains.configure import Configuration, Memory
from eas.chains.expressions import Scope, evaluate, is_expression, uses_requested_metadata
from eas.chains.grammar import Chain
from eas.chains.limits import RefusedError
from eas.chains.paths import child_path, descriptor_at
from eas.chains.ranges import kind, loop_values
from eas.chains.recipes import Recipe, recipe
from eas.chains.structure import child_problem, identifier_fault, sibling_problem
from eas.errors import ChainError, ExpressionError, MissingMetadataError, Problem
from eas.model import CHAIN, CONDITIONAL, DO_WHILE, FOR_LOOP, TaskSpec
from eas.registry import Registry

Requested = Mapping[str, Mapping[str, Any]]
"""Name of a sibling (or child) to its output metadata."""
OnError = Callable[[ChainError], None]


class Expander:
    """Expands the control tasks of one job.

    Nothing is kept between calls but what follows from the chain alone, so an expander made after
    a restart gives the same children, random numbers included.

    Parameters
    ----------
    chain:
        The job's chain.
    registry:
        Task types that exist.
    seed:
        The job's seed; random numbers hang on it, the task's address and the key.
    """

    def __init__(self, chain: Chain, registry: Registry, seed: str) -> None:
        self.chain = chain
        self.registry = registry
        self.seed = seed
        self._recipes: dict[str, Recipe] = {}
        self._memory: Memory = {}
        self._lists: dict[tuple[str, str], list[Recipe]] = {}

    def root(self, job_name: str, working_directory: str) -> TaskSpec:
        """Return the task of the whole chain."""
        return TaskSpec("", "", CHAIN, None, job_name, working_directory, {}, {}, {}, {})

    def children(
        self,
        spec: TaskSpec,
        *,
        iteration: int | None = None,
        branch: bool | None = None,
        on_error: OnError | None = None,
    ) -> Iterator[TaskSpec]:
        """Yield the children of a control task, in order.

        ``iteration`` (from 1) is asked of a do-while loop, ``branch`` of a conditional. A child
        that cannot be configured raises ChainError; where ``on_error`` is given, it gets the error
        instead, and the next child follows.
        """
        if spec.task_type == CHAIN:
            return self._listed(spec, "task_list", on_error)
        if spec.task_type == FOR_LOOP:
            return self._for_loop(spec)
        if spec.task_type == DO_WHILE:
            if iteration is None:
                raise ValueError("which iteration of the do-while loop?")
            return self._iteration(spec, iteration)
        if spec.task_type == CONDITIONAL:
            if branch is None:
                raise ValueError("which branch of the conditional?")
            return self._listed(spec, "task_list" if branch else "else_task_list", on_error)
        raise ValueError(f"task type {spec.task_type} has no children")

    def criterion(self, spec: TaskSpec) -> bool:
        """Return which branch of a conditional is to run; its criterion must have been evaluated."""
        value = spec.settings["criterion"]
        if is_expression(value):
            self.fail(spec.path, "criterion", "waits for metadata that is not there yet", "configure the task again")
        return bool(value)

    def repeat(self, spec: TaskSpec, iteration: int, requested: Requested | None) -> bool:
        """Return whether another iteration follows ``iteration`` (from 1) of a do-while loop.

        ``requested`` holds the output metadata of that iteration's children.
        Raises MissingMetadataError if it is None and the criterion reads it.
        """
        criterion = descriptor_at(self.chain.document, spec.path)["repeat_criterion"]
        if not is_expression(criterion):
            return bool(criterion)
        scope = Scope(
            self._iteration_metadata(spec, iteration), requested, f"{self.seed}|{spec.address}.{iteration - 1}"
        )
        try:
            return bool(evaluate(criterion, scope, "repeat_criterion"))
        except MissingMetadataError:
            raise
        except ExpressionError as error:
            self.fail(spec.path, "repeat_criterion", error.what, error.cure)

    def repeat_names(self, spec: TaskSpec) -> tuple[str, ...]:
        """Return the names of the children whose metadata a do-while loop's criterion asks for."""
        names = spec.settings.get("requires_metadata_from_child", ())
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            self.fail(spec.path, "requires_metadata_from_child", "must be a list of names", "give names of children")
        return tuple(names)

    def check_child_names(self, spec: TaskSpec, chain: TaskSpec) -> None:
        """Check that a do-while loop's ``requires_metadata_from_child`` names children of an iteration's ``chain``.

        Raises ChainError if one is unknown or the name of several.
        """
        names = self.repeat_names(spec)
        if not names:
            return
        children = [child.name for child in self.children(chain, on_error=lambda error: None)]
        if any(map(is_expression, children)):
            return
        for index, name in enumerate(names):
            if problem := child_problem(name, children):
                self.fail(spec.path, f"requires_metadata_from_child[{index}]", *problem)

    def reconfigure(self, spec: TaskSpec, requested: Requested) -> TaskSpec:
        """Return a pending task configured in full, now that the metadata it asked for is here."""
        if not spec.pending:
            return spec
        configuration = Configuration(self.registry, self.chain.source, spec, f"{self.seed}|", requested=requested)
        return configuration.task(self._recipe(spec.path), spec.address)

    def reads_metadata(self, spec: TaskSpec) -> bool:
        """Return whether a do-while loop's ``repeat_criterion`` reads its children's metadata."""
        criterion = descriptor_at(self.chain.document, spec.path)["repeat_criterion"]
        return is_expression(criterion) and uses_requested_metadata(criterion)

    def fail(self, path: str, key: str, message: str, cure: str) -> NoReturn:
        """Raise the ChainError of one problem at ``key`` of the descriptor at ``path``."""
        raise ChainError(self.chain.source, [Problem(f"{path}.{key}" if key else path, message, cure)])

    def _recipe(self, path: str) -> Recipe:
        found = self._recipes.get(path)
        if found is None:
            found = recipe(descriptor_at(self.chain.document, path), path)
            self._recipes[path] = found
        return found

    def _listed_recipes(self, path: str, key: str) -> list[Recipe]:
        found = self._lists.get((path, key))
        if found is None:
            tasks = descriptor_at(self.chain.document, path).get(key, [])
            here = child_path(path, key)
            found = [self._recipe(f"{here}[{index}]") for index in range(len(tasks))]
            self._lists[path, key] = found
        return found

    def _listed(self, spec: TaskSpec, key: str, on_error: OnError | None) -> Iterator[TaskSpec]:
        configuration = Configuration(self.registry, self.chain.source, spec, f"{self.seed}|", memory=self._memory)
        before = f"{spec.address}." if spec.address else ""
        earlier: list[str | None] = []
        for ordinal, each in enumerate(self._listed_recipes(spec.path, key)):
            try:
                child = configuration.task(each, f"{before}{ordinal}")
                if child.requires:
                    self._check_siblings(child, earlier)
            except ChainError as error:
                if on_error is None:
                    raise
                on_error(error)
                continue
            earlier.append(child.name)
            yield child

    def _check_siblings(self, child: TaskSpec, earlier: list[str | None]) -> None:
        if any(map(is_expression, earlier)):
            return  # a name that waits for metadata may be the one
        for index, name in enumerate(child.requires):
            if problem := sibling_problem(name, earlier, ()):
                self.fail(child.path, f"requires_metadata_from[{index}]", *problem)

    def _for_loop(self, spec: TaskSpec) -> Iterator[TaskSpec]:
        try:
            values = loop_values(spec.settings)
        except RefusedError as error:
            self.fail(spec.path, "", error.what, error.cure)
        parameter = self._identifier(spec, "parameter")
        indexed = f"{parameter}_index"
        metadata = ({**spec.metadata, parameter: value, indexed: index} for index, value in enumerate(values))
        return self._chains(spec, metadata, 0)

    def _iteration(self, spec: TaskSpec, iteration: int) -> Iterator[TaskSpec]:
        return self._chains(spec, [self._iteration_metadata(spec, iteration)], iteration - 1)

    def _iteration_metadata(self, spec: TaskSpec, iteration: int) -> dict[str, Any]:
        return {**spec.metadata, f"{self._identifier(spec, 'iteration_name')}_index": iteration}

    def _chains(self, spec: TaskSpec, metadata: Iterable[dict[str, Any]], first: int) -> Iterator[TaskSpec]:
        before = f"{spec.address}." if spec.address else ""
        for ordinal, inherited in enumerate(metadata, first):
            yield TaskSpec(
                f"{before}{ordinal}", spec.path, CHAIN, None, spec.job_name, spec.working_directory, inherited,
                _NOTHING, _NOTHING, _NOTHING,
            )  # fmt: skip

    def _identifier(self, spec: TaskSpec, key: str) -> str:
        value = spec.settings.get(key)
        if is_expression(value) or identifier_fault(value):
            what = f"{value!r} is no name" if isinstance(value, str) else f"is {kind(value)}"
            self.fail(spec.path, key, what, "use letters, digits and _, beginning with a letter")
        assert isinstance(value, str)
        return value


_NOTHING: dict[str, Any] = {}
