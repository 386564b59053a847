"""Write all generated pages below ``docs/``; a test checks that they are up to date."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import (
    columns,
    commands,
    database,
    deployments,
    figures,
    performance,
    pictures,
    python_api,
    settings,
    states,
    task_types,
)

FOLDER = Path(__file__).resolve().parents[1]
PAGES: Mapping[str, Callable[[], str]] = {
    "explanation/performance.md": performance.page,
    "img/performance.svg": figures.picture,
    "img/task-database.svg": database.picture,
    "img/tutorial-detection-limit-plan.svg": pictures.detection_limit_plan,
    "reference/columns.md": columns.page,
    "reference/commands.md": commands.page,
    "reference/database.md": database.page,
    "reference/deployments.md": deployments.page,
    "reference/python_api.md": python_api.page,
    "reference/settings.md": settings.page,
    "reference/states.md": states.page,
    "reference/task_types.md": task_types.page,
}
"""Paths below ``docs/`` and the functions that return the text of each."""


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
        sys.stdout.write(f"wrote docs/{name}\n")


if __name__ == "__main__":
    main()
