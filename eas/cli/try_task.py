"""``eas try``: runs one task on local files, without database, queue or file store; for authors of task types."""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from eas.cli.options import NumberRange, json_option, print_json
from eas.cli.output import echo
from eas.cli.try_configuration import Configuration, read_configuration, sidecar_metadata
from eas.errors import RequestError
from eas.model import AttemptResult, ClaimedAttempt, InputProduct, Scalar
from eas.registry import Registry, TaskType
from eas.registry import load as load_registry
from eas.tasks.output_metadata import differences
from eas.worker.executor import Executor
from eas.worker.protocol import Work


@click.command("try")
@click.argument("task", required=False)
@click.option("--config", type=click.Path(path_type=Path), help="Test configuration: a JSON object like a descriptor.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE", help="File that the task reads.")
@click.option("--output", "outputs", multiple=True, metavar="NAME=FILE", help="Where to write an output.")
@click.option("--set", "settings", multiple=True, metavar="KEY=JSON", help="A setting; KEY may have dots: specs.t0=2.")
@click.option(
    "--metadata", multiple=True, metavar="KEY=JSON", help="Metadata of the inputs; default: FILE.json beside each."
)
@click.option("--input-directory", type=click.Path(path_type=Path), default=".", help="Folder of external data.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Number of CPUs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of its random numbers.")
@click.option("--memory", type=NumberRange(0.01), metavar="GB", help="Memory limit; default: that of its worker type.")
@json_option
def try_task(task: str | None, config: Path | None, as_json: bool, **given: Any) -> int:
    """Run one task of type TASK on local files: its code, then its QC, as a worker would.

    --config FILE reads type, files and settings from a test configuration; other options override
    it. Nothing is recorded. Exits with 1 if the code or its QC failed.
    """
    registry = load_registry()
    described = _read_task(task, config, registry, given)
    task_type = _runnable(registry, described.task)
    worker_type = registry.worker_types[task_type.worker_type]
    inputs, outputs = described.inputs, described.outputs
    _check_files(task_type, inputs, outputs)
    known: dict[str, Scalar] = {key: _json(text) for key, text in map(_pair, given["metadata"])}
    products = {
        name: InputProduct(path.name, path.absolute(), {**sidecar_metadata(path), **known})
        for name, path in inputs.items()
    }
    with tempfile.TemporaryDirectory(prefix="eas-try-") as name:
        folder = Path(name)
        (folder / "new").mkdir()
        work = Work(
            ClaimedAttempt(1, task_type.name, described.settings, seed=given["seed"]),
            implementation=task_type.implementation,
            scratch=folder / "scratch",
            inputs=products,
            outputs={each: folder / f"output-{index}" for index, each in enumerate(outputs)},
            new_directory=folder / "new" if getattr(task_type, "dynamic_outputs", False) else None,
        )
        directory = given["input_directory"].absolute()
        memory = 1000 * (given["memory"] or worker_type.memory)
        python_path = [Path.cwd(), *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))]
        with Executor(
            threads=given["threads"], memory_limit=memory, input_directory=directory, python_path=python_path
        ) as executor:
            result = executor.run(work)
        written = _move_files(work, result, outputs)
    _show(result, written, as_json)
    _warn_about_metadata(result, task_type)
    return 0 if result.passed else 1


def _runnable(registry: Registry, name: str) -> TaskType:
    task_type = registry.task_type(name)
    if task_type.control or not task_type.implementation:
        what = "is a control task: it runs no code" if task_type.control else "has no code in this release"
        raise RequestError(f"{name} {what}", hint="try one of the task types that run on a worker")
    if missing := task_type.missing_modules():
        extra = registry.worker_types[task_type.worker_type].extra
        hint = f"pip install 'eas-prefect[{extra}]'" if extra else f"install {', '.join(missing)}"
        raise RequestError(f"task type {name} needs {', '.join(missing)}, which is not installed here", hint=hint)
    return task_type


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise RequestError(f"{text!r} is not NAME=VALUE", hint="write it with an equals sign, as lightcurve=lc.gz")
    return name, value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text  # strings may be given without quotes


def _read_task(task: str | None, config: Path | None, registry: Registry, given: dict[str, Any]) -> Configuration:
    """Return the task to try: the configuration's, overridden by other options."""
    if (task is None) == (config is None):
        raise RequestError("give either a task type or --config FILE", hint="eas try verify --input lightcurve=lc.gz")
    found = read_configuration(config, registry, given["seed"]) if config is not None else Configuration(str(task))
    return Configuration(
        found.task,
        _settings(given["settings"], found.settings),
        {**found.inputs, **{name: Path(path) for name, path in map(_pair, given["inputs"])}},
        {**found.outputs, **{name: Path(path).absolute() for name, path in map(_pair, given["outputs"])}},
    )


def _settings(pairs: tuple[str, ...], before: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = copy.deepcopy(dict(before))
    for path, text in map(_pair, pairs):
        *parents, key = path.split(".")
        target = settings
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise RequestError(f"--set {path}: {parent} is already a value", hint="set it or its members")
        target[key] = _json(text)
    return settings


def _check_files(task_type: TaskType, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    for option, needed, given in (("input", task_type.inputs, inputs), ("output", task_type.outputs, outputs)):
        if missing := [name for name in needed if name not in given]:
            raise RequestError(
                f"{task_type.name} needs the {option} {', '.join(missing)}", hint=f"give --{option} {missing[0]}=FILE"
            )
    for name, path in inputs.items():
        if not path.is_file():
            raise RequestError(f"the input {name} is not a file: {path}", hint="correct the path")
    for name, path in outputs.items():
        if not path.parent.is_dir():
            raise RequestError(f"the output {name} cannot be written: no folder {path.parent}", hint="create it first")


def _move_files(work: Work, result: AttemptResult, outputs: Mapping[str, Path]) -> dict[str, str]:
    """Move the task's output files to the requested paths; return name to path."""
    written: dict[str, str] = {}
    for name, path in work.outputs.items():
        if path.is_file():
            shutil.move(path, outputs[name])
            written[name] = str(outputs[name])
    for each in result.new_files:
        if each.path.is_file():
            target = Path.cwd() / "ingested" / Path(each.file_name).name
            target.parent.mkdir(exist_ok=True)
            shutil.move(each.path, target)
            written[each.file_name] = str(target)
    return written


def _warn_about_metadata(result: AttemptResult, task_type: TaskType) -> None:
    """Warn if the returned metadata differ from the declared ones, against which chains are checked."""
    declared = task_type.declared_metadata()
    if declared is not None and result.passed:
        # Comments of input files hold metadata as well, so any name may have been passed on.
        passed_on = result.metadata if task_type.metadata_from else ()
        for each in differences(declared, result.metadata, passed_on):
            echo(f"WARNING: {each}: correct the declaration of {task_type.name}'s metadata", err=True)


def _show(result: AttemptResult, written: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "passed": result.passed,
                "reason": result.reason,
                "metadata": dict(result.metadata),
                "checks": [[check.name, check.passed, check.detail] for check in result.checks],
                "outputs": written,
                "seconds": round(result.usage.wall, 3),
            }
        )
        return
    for entry in result.log:
        echo(f"{logging.getLevelName(entry.level)}: {entry.message}", err=True)
        if entry.traceback:
            echo(entry.traceback, err=True)
    for name, value in result.metadata.items():
        echo(f"{name} = {json.dumps(value)}")
    for check in result.checks:
        echo(f"QC {'passed' if check.passed else 'FAILED'}: {check.name}: {check.detail}")
    for name, path in written.items():
        echo(f"{name} written to {path}")
    echo(f"{'passed' if result.passed else f'failed: {result.reason}'} in {result.usage.wall:.2f} s")
