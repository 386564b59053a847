"""The parameter `chain`: JSON as object or text, a path, a URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from eas.app import App
from eas.chains.grammar import ChainError
from eas.errors import RequestError
from eas.settings import Settings
from flows import chain_parameter
from flows.run_chain import run_chain

CHAIN = {"job_name": "mine", "working_directory": "wd", "task_list": [{"task": "null"}]}


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    with App(Settings(home=tmp_path)) as made:
        yield made


@pytest.mark.parametrize("value", [CHAIN, json.dumps(CHAIN), "  " + json.dumps(CHAIN, indent=2)])
def test_the_chain_itself(app: App, value: Any) -> None:
    assert json.loads(chain_parameter.read(value, app).text) == CHAIN
    assert chain_parameter.title(value) == "mine"


def test_a_path_and_urls(app: App, tmp_path: Path) -> None:
    file = tmp_path / "from_a_file.json"
    file.write_text(json.dumps(CHAIN))
    with fsspec.open("memory://chains/from_memory.json", "w") as memory:
        memory.write(json.dumps(CHAIN))
    for value in (str(file), file.as_uri(), "memory://chains/from_memory.json"):
        assert json.loads(chain_parameter.read(value, app).text) == CHAIN
    assert chain_parameter.title(str(file)) == "from_a_file"
    assert chain_parameter.title("s3://bucket/path/from_s3.json") == "from_s3"


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (None, RequestError, "neither a chain nor a job id"),
        ("", RequestError, "neither a chain nor a job id"),
        ({"job_name": 1}, ChainError, "the parameter chain"),
        ("{not json", ChainError, "the parameter chain"),
        ("/nowhere/chain.json", RequestError, "there is no file"),
        ("memory://nowhere/chain.json", RequestError, "cannot be read: FileNotFoundError"),
        ("nosuch://me:secret@host/chain.json", RequestError, "cannot be read: ValueError"),
    ],
)
def test_what_is_no_chain_is_refused(app: App, value: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as found:
        chain_parameter.read(value, app)
    assert said in str(found.value) and "secret" not in str(found.value)


def test_prefect_takes_an_object_and_a_text() -> None:
    schema = run_chain.parameters.model_dump()["properties"]["chain"]
    assert {each["type"] for each in schema["anyOf"]} == {"object", "string", "null"}
