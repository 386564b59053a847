"""`eas submit --through-prefect`: what an operator reads where the API is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from eas.chains.grammar import ChainError
from eas.cli.prefect_submit import submit_through_prefect
from eas.errors import RequestError, ServiceError

VALUES = {
    "if_exists": "fail",
    "retries": 0,
    "backoff": 1.0,
    "max_stalls": None,
    "seed": None,
    "priority": 0,
    "job_name": None,
    "strict": False,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "chain.json"
    path.write_text(json.dumps({"job_name": "j", "working_directory": "w", "task_list": [{"task": "null"}]}))
    return path


def test_without_an_address(file: Path) -> None:
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(RequestError, match="no Prefect API is configured"):
        submit_through_prefect(file, VALUES)


def test_where_nothing_answers(file: Path) -> None:
    settings = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(settings), pytest.raises(ServiceError, match="cannot be reached"):
        submit_through_prefect(file, VALUES)


def test_a_chain_that_is_wrong_is_refused_here(tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    path.write_text("{}")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(ChainError):
        submit_through_prefect(path, VALUES)


def test_a_strict_submission_refuses_warnings_here(tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    path.write_text(json.dumps({"task_list": [{"task": "null", "durration": 1}]}))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(ChainError, match="durration"):
        submit_through_prefect(path, VALUES | {"strict": True})
