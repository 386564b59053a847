"""``eas try``: one task on local files, without database, queue or store; for authors of task types."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from eas.cli.options import json_option, print_json
from eas.errors import RequestError
from eas.model import InputProduct, Scalar
from eas.registry import Registry, TaskType
from eas.registry import load as load_registry
from eas.worker.executor import Executor
from eas.worker.protocol import Outcome, Work


@click.command("try")
@click.argument("task")
@click.option("--input", "inputs", multiple=True, metavar="NAME=FILE", help="A file that the task reads.")
@click.option("--output", "outputs", multiple=True, metavar="NAME=FILE", help="Where to write what it makes.")
@click.option("--set", "settings", multiple=True, metavar="KEY=JSON", help="A setting; KEY may have dots: specs.t0=2.")
@click.option("--metadata", multiple=True, metavar="KEY=JSON", help="Of the inputs, as their maker would give it.")
@click.option("--input-directory", type=click.Path(path_type=Path), default=".", help="Where external data lie.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPUs that it may use.")
@click.option("--seed", type=int, default=0, show_default=True, help="Its random numbers follow from it.")
@json_option
def try_task(task: str, as_json: bool, **given: Any) -> int:
    """Run one task of type TASK on local files: its code, then its QC, as a worker would.

    Nothing is recorded. Exits with 1 where the code or its QC failed.
    """
    registry = load_registry()
    task_type = _runnable(registry, task)
    inputs = {name: Path(path) for name, path in map(_pair, given["inputs"])}
    outputs = {name: Path(path).absolute() for name, path in map(_pair, given["outputs"])}
    _check_files(task_type, inputs, outputs)
    known: dict[str, Scalar] = {key: _json(text) for key, text in map(_pair, given["metadata"])}
    with tempfile.TemporaryDirectory(prefix="eas-try-") as name:
        folder = Path(name)
        (folder / "new").mkdir()
        work = Work(
            attempt_id=1,
            task_type=task,
            implementation=task_type.implementation,
            scratch=folder / "scratch",
            settings=_settings(given["settings"]),
            inputs={each: InputProduct(path.name, path.absolute(), known) for each, path in inputs.items()},
            outputs={each: folder / f"output-{index}" for index, each in enumerate(outputs)},
            seed=given["seed"],
            new_directory=folder / "new" if getattr(task_type, "dynamic_outputs", False) else None,
        )
        directory = given["input_directory"].absolute()
        python_path = [Path.cwd(), *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))]
        with Executor(
            threads=given["threads"], memory_limit=None, input_directory=directory, python_path=python_path
        ) as executor:
            outcome = executor.run(work)
        written = _take(work, outcome, outputs)
    _show(outcome, written, as_json)
    return 0 if outcome.passed else 1


def _runnable(registry: Registry, name: str) -> TaskType:
    task_type = registry.task_type(name)
    if task_type.control or not task_type.implementation:
        what = "is a control task: it runs no code" if task_type.control else "has no code in this release"
        raise RequestError(f"{name} {what}", cure="try one of the task types that run on a worker")
    if missing := task_type.missing_modules():
        extra = registry.worker_types[task_type.worker_type].extra
        cure = f"pip install 'eas-prefect[{extra}]'" if extra else f"install {', '.join(missing)}"
        raise RequestError(f"task type {name} needs {', '.join(missing)}, which is not installed here", cure=cure)
    return task_type


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise RequestError(f"{text!r} is not NAME=VALUE", cure="write it with an equals sign, as lightcurve=lc.gz")
    return name, value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text  # a word need not be quoted


def _settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for path, text in map(_pair, pairs):
        *parents, key = path.split(".")
        target = settings
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise RequestError(f"--set {path}: {parent} is a value already", cure="give either it or what is in it")
        target[key] = _json(text)
    return settings


def _check_files(task_type: TaskType, inputs: dict[str, Path], outputs: dict[str, Path]) -> None:
    for option, needed, given in (("input", task_type.inputs, inputs), ("output", task_type.outputs, outputs)):
        if lacking := [name for name in needed if name not in given]:
            raise RequestError(
                f"{task_type.name} needs the {option} {', '.join(lacking)}", cure=f"give --{option} {lacking[0]}=FILE"
            )
    for name, path in inputs.items():
        if not path.is_file():
            raise RequestError(f"the input {name} is not a file: {path}", cure="correct the path")
    for name, path in outputs.items():
        if not path.parent.is_dir():
            raise RequestError(f"the output {name} cannot be written: {path.parent} is no folder", cure="make it first")


def _take(work: Work, outcome: Outcome, outputs: dict[str, Path]) -> dict[str, str]:
    """Move what the task made to where it was asked for; return name to path."""
    written: dict[str, str] = {}
    for name, path in work.outputs.items():
        if path.is_file():
            shutil.move(path, outputs[name])
            written[name] = str(outputs[name])
    for each in outcome.new_files:
        if each.path.is_file():
            target = Path.cwd() / "ingested" / Path(each.file_name).name
            target.parent.mkdir(exist_ok=True)
            shutil.move(each.path, target)
            written[each.file_name] = str(target)
    return written


def _show(outcome: Outcome, written: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "passed": outcome.passed,
                "reason": outcome.reason,
                "metadata": dict(outcome.metadata),
                "checks": [[check.name, check.passed, check.detail] for check in outcome.checks],
                "outputs": written,
                "seconds": round(outcome.usage.wall, 3),
            }
        )
        return
    for entry in outcome.log:
        click.echo(f"{logging.getLevelName(entry.level)}: {entry.message}", err=True)
        if entry.traceback:
            click.echo(entry.traceback, err=True)
    for name, value in outcome.metadata.items():
        click.echo(f"{name} = {json.dumps(value)}")
    for check in outcome.checks:
        click.echo(f"QC {'passed' if check.passed else 'FAILED'}: {check.name}: {check.detail}")
    for name, path in written.items():
        click.echo(f"{name} written to {path}")
    click.echo(f"{'passed' if outcome.passed else f'failed: {outcome.reason}'} in {outcome.usage.wall:.2f} s")
