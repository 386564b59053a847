"""Saves the settings as one block of each kind with a common name, and reads them back."""

from __future__ import annotations

import json

from prefect.blocks.core import Block
from pydantic import ValidationError

from blocks.database import EASDatabase
from blocks.job_queue import EASJobQueue
from blocks.store import EASFileStore
from eas.errors import SettingsError
from eas.settings import Settings

DEFAULT_NAME = "eas"
KINDS: tuple[type[Block], ...] = (EASDatabase, EASJobQueue, EASFileStore)


def blocks_of(settings: Settings) -> tuple[EASDatabase, EASJobQueue, EASFileStore]:
    """Return the three blocks for the settings."""
    return (
        EASDatabase.from_url(settings.database()),
        EASJobQueue.from_url(settings.queue_url.get_secret_value()),
        EASFileStore(
            url=settings.store_location,
            options=json.loads(settings.store_options.get_secret_value() or "{}"),
            data_directory=str(settings.data_directory),
        ),
    )


def save_blocks(settings: Settings, name: str = DEFAULT_NAME) -> list[str]:
    """Register the block types and save the three blocks under ``name``. Idempotent.

    Returns their slugs, such as ``eas-database/eas``.
    """
    slugs = []
    for block in blocks_of(settings):
        type(block).register_type_and_schema(_sync=True)  # type: ignore[call-arg]
        block.save(name, overwrite=True, _sync=True)  # type: ignore[call-arg]
        slugs.append(f"{block.get_block_type_slug()}/{name}")
    return slugs


def overrides(name: str) -> dict[str, str]:
    """Return the settings in the blocks called ``name``; missing blocks are skipped.

    Raises SettingsError if no block has that name.
    """
    found: dict[str, str] = {}
    for kind in KINDS:
        try:
            found |= settings_of(kind.load(name, _sync=True))  # type: ignore[call-arg, arg-type]
        except ValidationError as error:
            raise SettingsError(
                f"the block {kind.get_block_type_slug()}/{name} cannot be used: {error.errors()[0]['msg']}",
                hint=f"correct it in the Prefect UI, or save it again: eas blocks save --name {name}",
            ) from None
        except ValueError:
            continue  # no block of this type
    if not found:
        raise SettingsError(
            f"the Prefect server has no EAS blocks called {name!r}", hint=f"save them: eas blocks save --name {name}"
        )
    return found


def settings_of(block: Block) -> dict[str, str]:
    """Return the settings in a block."""
    if isinstance(block, EASDatabase):
        return {"database_url": block.get_url().get_secret_value()}
    if isinstance(block, EASJobQueue):
        return {"queue_url": block.get_url().get_secret_value()}
    assert isinstance(block, EASFileStore)
    found = {"store_url": block.url, "store_options": block.get_options()}
    return found | ({"data_dir": block.data_directory} if block.data_directory else {})
