"""What the tests of the task types share: contexts made by hand, in a temporary directory."""

import logging

import pytest

from eas.lightcurves import files
from eas.model import InputProduct
from eas.tasks.base import TaskContext


class Bench:
    """Makes TaskContexts whose files lie in one temporary directory."""

    def __init__(self, directory):
        self.directory = directory

    def path(self, name):
        return self.directory / name

    def store(self, name, lightcurve, **metadata):
        """Write a light curve and return it as the input product that a task is handed."""
        files.write(self.path(name), lightcurve)
        return InputProduct(name, self.path(name), metadata)

    def context(self, settings=None, *, inputs=None, outputs=(), seed=0):
        return TaskContext(
            task_type="test",
            settings=settings or {},
            metadata={},
            inputs=inputs or {},
            outputs={name: self.path(f"out_{name}.gz") for name in outputs},
            scratch=self.directory,
            input_directory=self.directory,
            seed=seed,
            log=logging.getLogger("eas.task"),
        )


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)
