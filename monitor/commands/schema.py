"""``driftline schema``: the JSON Schema of the configuration."""

from __future__ import annotations

import click

from monitor.config.deprecated import with_old_names
from monitor.config.schema import json_schema
from monitor.options import json_option, print_json


@click.command("schema")
@json_option
def command(as_json: bool) -> None:
    """Print the JSON Schema of the configuration."""
    print_json(with_old_names(json_schema()))
