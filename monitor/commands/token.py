"""``driftline token``: tokens for programs that use the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy import Engine

from monitor.by_hand import who, write_down
from monitor.clock import SystemClock
from monitor.config import load
from monitor.config.sign_in import ROLES, RoleName
from monitor.config.values import write_instant
from monitor.options import configuration_option, json_option, print_json
from monitor.store import api_tokens as stored
from monitor.store import engine as engines
from monitor.store import schema
from monitor.store.engine import immediate, reading
from monitor.web.sign_in.tokens import create, lifetime_ms
from schemas.errors import UsageError


@click.group("token")
def command() -> None:
    """Make, list and revoke tokens for programs that use the API.

    Programs send one as "Authorization: Bearer dl_…". Whoever can use this command reaches the database, and
    may do everything anyway.
    """


@command.command("create")
@configuration_option
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What it may do.")
@click.option("--valid-for", default="90d", show_default=True, metavar="DURATION|never", help="How long.")
@json_option
def create_token(config: str, name: str, role: RoleName, valid_for: str, as_json: bool) -> None:
    """Make a token and print it, once: only its hash is kept."""
    try:
        lives_ms = lifetime_ms(valid_for)
    except ValueError as error:
        msg = f"--valid-for: {error}"
        raise UsageError(msg) from None
    with _database(config) as engine:
        now_ms = SystemClock().now_ms()
        ends_ms = None if lives_ms is None else now_ms + lives_ms
        number, token = create(engine, name, role, ends_ms, who(), now_ms)
        with immediate(engine) as connection:
            write_down(connection, f"token create {name} --role {role}", now_ms)
    if as_json:
        ends = None if ends_ms is None else write_instant(ends_ms)
        print_json({"id": number, "name": name, "role": role, "expires_at": ends, "token": token})
    else:
        click.echo(token)


@command.command("list")
@configuration_option
@json_option
def list_tokens(config: str, as_json: bool) -> None:
    """List tokens, never the tokens themselves."""
    with _database(config) as engine, reading(engine) as connection:
        rows = stored.listed(connection)
    names = ("created_at", "expires_at", "used_at", "revoked_at")
    items = [
        {
            "id": row.id,
            "name": row.name,
            "role": row.role,
            "created_by": row.created_by,
            **{name: write_instant(getattr(row, f"{name}_ms")) for name in names},
        }
        for row in rows
    ]
    if as_json:
        print_json({"items": items})
        return
    for item in items:
        ends = f"until {item['expires_at']}" if item["expires_at"] else "without end"
        state = f"revoked {item['revoked_at']}" if item["revoked_at"] else ends
        used = f"last used {item['used_at']}" if item["used_at"] else "never used"
        click.echo(f"{item['name']}  {item['role']}  {state}  {used}")
    if not items:
        click.echo("there is no token yet")


@command.command("revoke")
@configuration_option
@click.argument("name")
def revoke_token(config: str, name: str) -> None:
    """Revoke a token: it is refused from now on, by every process."""
    with _database(config) as engine, immediate(engine) as connection:
        number, now_ms = stored.number_of(connection, name), SystemClock().now_ms()
        if number is None or not stored.revoke(connection, number, who(), now_ms):
            msg = f"there is no token named {name!r} to revoke (driftline token list shows those there are)"
            raise UsageError(msg)
        write_down(connection, f"token revoke {name}", now_ms)
    click.echo(f"{name}: revoked")


@contextmanager
def _database(config: str) -> Iterator[Engine]:
    engine = engines.create(load(config).database())
    try:
        schema.require(engine)
        yield engine
    finally:
        engine.dispose()
