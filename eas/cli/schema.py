"""``eas schema``: the JSON Schema of task chains."""

from __future__ import annotations

import click

from eas.chains.schema import chain_schema
from eas.cli.options import print_json
from eas.registry import load


@click.command()
@click.option("--strict", is_flag=True, help="Also reject chains for which `eas validate` prints warnings.")
def schema(strict: bool) -> None:
    """Print the JSON Schema of task chains, for editors that complete and check JSON files.

    The schema covers the task types that are installed here, including those of third parties.
    """
    print_json(chain_schema(load(), strict=strict))
