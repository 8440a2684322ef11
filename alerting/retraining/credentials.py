"""Credentials that targets ask for, read anew for every request so that they may be replaced meanwhile."""

from __future__ import annotations

import base64

from alerting.retraining.base import RetrainingTarget
from schemas.errors import ConfigurationError, RetryLater


class Credential:
    """One secret of a target.

    Parameters
    ----------
    target : RetrainingTarget
        Names the secret in its options with ``{name}_env`` or ``{name}_file``; its client will never show it.
    name : str
        Of the option, without ``_env`` or ``_file``.

    Raises
    ------
    ConfigurationError
        If it is missing, or holds line breaks or other characters that cannot be sent.
    """

    def __init__(self, target: RetrainingTarget, name: str) -> None:
        self._target = target
        self._name = name
        self._read()

    @classmethod
    def optional(cls, target: RetrainingTarget, name: str) -> Credential | None:
        """Make a credential if the options name one."""
        keys = (f"{name}_env", f"{name}_file")
        is_named = any(getattr(target.options, key, None) is not None for key in keys)
        return cls(target, name) if is_named else None

    def text(self) -> str:
        """Read the secret as it is now.

        Raises
        ------
        RetryLater
            If it cannot be read now.
        """
        try:
            return self._read()
        except ConfigurationError as error:
            raise RetryLater(str(error)) from error

    def bearer(self) -> dict[str, str]:
        """Make the header of a bearer token."""
        return {"authorization": f"Bearer {self.text()}"}

    def basic(self, username: str) -> dict[str, str]:
        """Make the header of a user with a password."""
        pair = base64.b64encode(f"{username}:{self.text()}".encode()).decode()
        self._target.http.hide(pair)
        return {"authorization": f"Basic {pair}"}

    def _read(self) -> str:
        text = self._target.secrets.read(self._target.options, self._name).get_secret_value()
        if not text.isprintable():
            problem = "holds line breaks or other characters that cannot be sent"
            raise self._target.secrets.problem(self._name, problem)
        self._target.http.hide(text)
        return text
