"""Secrets come from the environment or from a file, never from the configuration itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, SecretStr

from schemas.errors import ConfigurationError

MAX_SECRET_BYTES = 65_536


class Secrets:
    """Reads the secrets that the options of one receiver name.

    Parameters
    ----------
    environment : mapping of str to str
        Usually ``os.environ``.
    where : str
        Path of the options in the configuration, for messages.

    Examples
    --------
    >>> class Options(BaseModel):
    ...     token_env: str | None = None
    ...     token_file: str | None = None
    >>> secrets = Secrets({"SLACK_BOT_TOKEN": "xoxb-1"}, "receivers.oncall")
    >>> secrets.read(Options(token_env="SLACK_BOT_TOKEN"), "token")
    SecretStr('**********')
    >>> secrets.read(Options(token_env="SLACK_TOKEN"), "token")
    Traceback (most recent call last):
    schemas.errors.ConfigurationError: receivers.oncall.token_env: environment variable SLACK_TOKEN is not set
    """

    def __init__(self, environment: Mapping[str, str], where: str) -> None:
        self._environment = environment
        self._where = where

    def read(self, options: BaseModel, name: str) -> SecretStr:
        """Read the secret that ``{name}_env`` or ``{name}_file`` points to.

        Raises
        ------
        ConfigurationError
            If neither is given, the variable is not set, the file cannot be read, or the secret is empty.
        """
        secret = self.read_optional(options, name)
        if secret is None:
            raise self.problem(name, f"a secret is needed (use {name}_env or {name}_file)")
        return secret

    def read_optional(self, options: BaseModel, name: str) -> SecretStr | None:
        """Read a secret that may be left out."""
        variable = getattr(options, f"{name}_env", None)
        file = getattr(options, f"{name}_file", None)
        if variable is not None:
            return self._from_environment(f"{name}_env", variable)
        return None if file is None else self._from_file(f"{name}_file", Path(file))

    def _from_environment(self, key: str, variable: str) -> SecretStr:
        value = self._environment.get(variable, "").strip()
        if not value:
            raise self.problem(key, f"environment variable {variable} is not set")
        return SecretStr(value)

    def _from_file(self, key: str, path: Path) -> SecretStr:
        try:
            if path.stat().st_size > MAX_SECRET_BYTES:
                raise self.problem(key, f"file {path} is larger than {MAX_SECRET_BYTES} bytes")
            value = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise self.problem(key, f"file {path} cannot be read: {reason}") from error
        if not value:
            raise self.problem(key, f"file {path} is empty")
        return SecretStr(value)

    def problem(self, key: str, text: str) -> ConfigurationError:
        """Describe what is wrong with an option; the text must not hold the secret."""
        return ConfigurationError([f"{self._where}.{key}: {text}"])


def exactly_one(options: BaseModel, *names: str) -> None:
    """Check that one of several options is given.

    Raises
    ------
    ValueError
        Names the allowed ones; for use in pydantic validators.
    """
    given = [name for name in names if getattr(options, name) is not None]
    if len(given) != 1:
        listed = ", ".join(names)
        msg = f"{' and '.join(given) or 'nothing'} given (give exactly one of {listed})"
        raise ValueError(msg)
