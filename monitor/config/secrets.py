"""Secrets stand outside the configuration: ``…_env`` names an environment variable, ``…_file`` a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from monitor.config.problem import show
from monitor.logs import hide
from schemas.errors import ConfigurationError


def is_pointer(key: str) -> bool:
    """Whether a key says where a secret is."""
    return key.endswith(("_env", "_file"))


def name_of_secret(key: str) -> str:
    """Name of the secret that a key points to.

    Examples
    --------
    >>> name_of_secret("token_env"), name_of_secret("sasl.password_file")
    ('token', 'sasl.password')
    """
    return key.removesuffix("_env").removesuffix("_file")


def secret(key: str, pointer: str, environ: Mapping[str, str] | None = None) -> str:
    """Fetch a secret.

    Parameters
    ----------
    key : str
        Its ending says where the secret is: ``…_env`` or ``…_file``.
    pointer : str
        Name of the variable, or path of the file; space around a file's content is dropped.
    environ : Mapping of str to str, optional
        Environment variables; default: those of this process.

    Returns
    -------
    str
        Never empty. Not for logs, which mask it from now on.

    Raises
    ------
    ConfigurationError
        If there is no such variable or file, or it is empty.
    """
    found, problem = _look_up(key, pointer, os.environ if environ is None else environ)
    if problem:
        raise ConfigurationError([f"{key}: {problem}"])
    if name_of_secret(key) != "database_url":  # of which only the password is secret
        hide(found)
    return found


def secret_problem(key: str, pointer: str, environ: Mapping[str, str] | None = None) -> str:
    """Say why a secret cannot be had; empty if it can."""
    return _look_up(key, pointer, os.environ if environ is None else environ)[1]


def _look_up(key: str, pointer: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the secret and an empty text, or an empty text and what is wrong."""
    if key.endswith("_env"):
        found = environ.get(pointer, "")
        return found, "" if found else f"environment variable {pointer} is not set"
    try:
        found = Path(pointer).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        return "", f"file {show(pointer)} is not UTF-8 text"
    except (OSError, ValueError) as error:
        return "", f"file {show(pointer)} cannot be read: {getattr(error, 'strerror', None) or error}"
    return found, "" if found else f"file {show(pointer)} is empty"
