"""The command line: finds its commands, speaks to people and to programs, and leaves with the right code."""

import importlib
import json
import logging
import pkgutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from monitor import cli, commands
from monitor.store import schema
from monitor.store.engine import create
from schemas.errors import ConfigurationError, DeliveryError, EventError, Unavailable, UsageError
from tests.monitor.test_config_messages import GOOD

MODULES = sorted(info.name for info in pkgutil.iter_modules(commands.__path__))


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "driftline.yaml"
        file.write_text(text)
        return str(file)

    return write


def failing(error):
    @click.command("check")
    def command():
        raise error

    return command


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_a_command(name, capsys):
    command = importlib.import_module(f"{commands.__name__}.{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name.replace("_", "-")
    assert cli.run([name.replace("_", "-"), "--help"]) == 0
    assert "Usage: driftline" in capsys.readouterr().out


def test_help_lists_every_command(capsys):
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in MODULES if f"  {name.replace('_', '-')} " not in shown] == []


def test_version(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("driftline, version ")


@pytest.mark.parametrize(
    "arguments", [[], ["chek"], ["check", "--nonsense"], ["--log-level", "loud", "check"]]
)
def test_usage_errors(arguments, capsys):
    assert cli.run(arguments) == 2
    assert "Usage" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError(["a:1: b: c"]), 2),
        (UsageError("x"), 2),
        (EventError("x"), 2),
        (Unavailable("postgresql://ann:hunter2@db/x is away"), 3),
        (DeliveryError("x"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_exit_codes(error, code, capsys, monkeypatch):
    monkeypatch.setattr(cli.Commands, "get_command", lambda *_: failing(error))
    assert cli.run(["check"]) == code
    shown = capsys.readouterr().err
    assert shown
    assert "Traceback" not in shown
    assert "hunter2" not in shown


def test_faults_of_the_program_are_not_hidden(monkeypatch):
    monkeypatch.setattr(cli.Commands, "get_command", lambda *_: failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.run(["check"])


def test_check_says_that_all_is_fine(write, capsys, monkeypatch):
    monkeypatch.setenv("HOOK", "x")
    file = write(GOOD)
    assert cli.run(["check", "-c", file]) == 0
    assert capsys.readouterr() == (f"{file}: fine (1 stream, 1 model, 1 receiver)\n", "")


def test_check_warns_of_secrets_that_are_not_set(write, capsys, monkeypatch):
    monkeypatch.delenv("HOOK", raising=False)
    file = write(GOOD)
    assert cli.run(["check", "-c", file]) == 0
    expected = f"{file}:19: receivers.hook.secret_env: environment variable HOOK is not set (warning)\n"
    assert capsys.readouterr().err == expected


def test_check_lists_problems_on_standard_error(write, capsys):
    file = write(GOOD.replace("8420", "x").replace("[hook]", "[hok]"))
    assert cli.run(["check", "-c", file]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"{file}:3: http.port: 'x' is not a whole number\n"
        f"{file}:17: alerts.routes[0].to[0]: 'hok' is no receiver; did you mean hook? (use hook)\n"
    )


def test_check_as_json(write, capsys, monkeypatch):
    monkeypatch.delenv("HOOK", raising=False)
    file = write(GOOD)
    assert cli.run(["check", "--json", "-c", file]) == 0
    warning = {
        "file": file,
        "line": 19,
        "path": "receivers.hook.secret_env",
        "message": "environment variable HOOK is not set",
    }
    assert json.loads(capsys.readouterr().out) == {"ok": True, "problems": [], "warnings": [warning]}
    file = write(GOOD.replace("8420", "99999"))
    assert cli.run(["check", "--json", "-c", file]) == 2
    problem = {
        "file": file,
        "line": 3,
        "path": "http.port",
        "message": "99999 is out of range (use 0 to 65535)",
    }
    assert json.loads(capsys.readouterr().out) == {"ok": False, "problems": [problem], "warnings": []}


def test_the_configuration_can_come_from_the_environment(write, monkeypatch):
    monkeypatch.setenv("DRIFTLINE_CONFIG", write(GOOD))
    assert cli.run(["check"]) == 0


def test_schema_is_json(capsys):
    assert cli.run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Driftline configuration"


def test_db_upgrade(write, capsys, bare_sqlite_url):
    file = write(GOOD.replace("sqlite:///driftline.db", bare_sqlite_url))
    assert cli.run(["db", "upgrade", "-c", file]) == 0
    assert schema.current(create(bare_sqlite_url))
    assert f"upgraded from nothing to {schema.head()}" in capsys.readouterr().out
    assert cli.run(["db", "upgrade", "-c", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "database": bare_sqlite_url,
        "before": schema.head(),
        "after": schema.head(),
    }


def test_db_upgrade_without_a_database(write, capsys, tmp_path):
    file = write(GOOD.replace("sqlite:///driftline.db", f"sqlite:///{tmp_path}/nowhere/d.db"))
    assert cli.run(["db", "upgrade", "-c", file]) == 3
    assert capsys.readouterr().err.endswith("d.db: unable to open database file\n")


def test_the_installed_command():
    command = Path(sys.executable).with_name("driftline")
    done = subprocess.run(
        [command, "check", "-c", "nowhere.yaml"], capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "nowhere.yaml: cannot be read: No such file or directory\n"
