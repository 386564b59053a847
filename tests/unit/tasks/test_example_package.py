"""The example of a task package: what its image names is there. Its code is run in tests/science/test_try.py."""

import ast
import importlib.util
import inspect
import json
import re
import shlex
from pathlib import Path

import eas
from eas import task_api
from infra.images import TARGETS

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "docs" / "example_task_package"


def lines(path):
    return path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


def arguments(path):
    """Return the defaults of a Containerfile's ARGs before its first FROM."""
    found = {}
    for line in lines(path):
        if line.startswith("FROM"):
            break
        if line.startswith("ARG "):
            name, _, value = line.removeprefix("ARG ").partition("=")
            found[name] = value
    return found


def test_the_image_stands_on_one_of_ours():
    own, example = arguments(ROOT / "infra/images/Containerfile"), arguments(EXAMPLE / "Containerfile")
    assert example["BASE_IMAGE"] == own["BASE_IMAGE"]
    registry, kind, tag = re.fullmatch(r"(\S+)/eas-(\S+):(\S+)", example["EAS_IMAGE"]).groups()
    assert (registry, tag) == ("localhost", eas.__version__)
    assert kind in TARGETS


def test_the_image_copies_what_is_there():
    copied = [shlex.split(line)[1:] for line in lines(EXAMPLE / "Containerfile") if line.startswith("COPY")]
    assert copied
    for *sources, _ in copied:
        assert sources[0].startswith("--from=builder") or all((EXAMPLE / source).exists() for source in sources)


def test_paths_are_those_of_our_images():
    text = (ROOT / "infra/images/Containerfile").read_text(encoding="utf-8")
    assert re.search(r"PYTHONPATH=(\S+)", text)[1] == "/opt/eas"
    assert "ENV PYTHONPATH=/opt/eas:/opt/eas-example" in lines(EXAMPLE / "Containerfile")


def test_the_image_runs_the_worker_type_of_the_package():
    found = importlib.util.spec_from_file_location("eas_example", EXAMPLE / "src/eas_example/__init__.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    (worker_type,) = module.task_types()["worker_types"]
    (command,) = [line.removeprefix("CMD ") for line in lines(EXAMPLE / "Containerfile") if line.startswith("CMD")]
    assert json.loads(command) == ["eas", "worker", "--type", worker_type]


def test_the_package_imports_only_the_module_for_authors():
    imported = set()
    for path in EXAMPLE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported.update(each.name for each in node.names)
    assert {name for name in imported if name.split(".")[0] == "eas"} == {"eas.task_api"}


def test_the_module_for_authors_documents_each_name_that_it_exports():
    public = {name for name in vars(task_api) if not name.startswith("_")} - {"annotations"}
    assert set(task_api.__all__) == public
    for name in task_api.__all__:
        assert f"`{name}`" in task_api.__doc__, name
        value = getattr(task_api, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_the_public_methods_of_the_module_for_authors_are_documented():
    classes = [value for name in task_api.__all__ if inspect.isclass(value := getattr(task_api, name))]
    for each in [each for each in classes if each.__module__.startswith("eas.")]:
        for name, member in vars(each).items():
            if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{each.__name__}.{name}"
