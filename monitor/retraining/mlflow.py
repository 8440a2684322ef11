"""Webhooks of MLflow's model registry: an alias that moves to a version is a deployment.

References
----------
https://mlflow.org/docs/latest/ml/webhooks/ (signature over id, timestamp and body)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from monitor.config.secrets import secret
from monitor.config.service import MlflowOptions
from monitor.retraining.deployments import Deployment
from schemas.errors import UsageError

TOLERANCE_S = 300
CREATED = ("model_version_alias", "created")


class MlflowHook:
    """Reads what MLflow sends, if it is signed with the configured secret.

    Parameters
    ----------
    options : MlflowOptions or None
        None refuses everything.
    now_ms : callable
        Wall clock, epoch milliseconds.
    environment : mapping, optional
        Where the secret is.
    """

    def __init__(
        self,
        options: MlflowOptions | None,
        now_ms: Callable[[], int],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._options, self._now_ms = options, now_ms
        self._environment = os.environ if environment is None else environment

    def read(self, headers: Mapping[str, str], body: bytes) -> Deployment | None:
        """Read one webhook.

        Returns
        -------
        Deployment or None
            None if it tells of something else.

        Raises
        ------
        UsageError
            If webhooks are not configured, or this one is not signed as it should be, or is not one.
        """
        if self._options is None:
            msg = "webhooks of MLflow are not configured (set http.mlflow.secret_env)"
            raise UsageError(msg)
        names = {name.lower(): value for name, value in headers.items()}
        id_, timestamp = names.get("x-mlflow-delivery-id", ""), names.get("x-mlflow-timestamp", "")
        self._check_time(timestamp)
        self._check_signature(names.get("x-mlflow-signature", ""), id_, timestamp, body)
        if not id_:
            msg = "X-MLflow-Delivery-Id is missing: a repetition could not be told from another deployment"
            raise UsageError(msg)
        return self._deployment(id_, body)

    def _check_time(self, timestamp: str) -> None:
        if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
            msg = "X-MLflow-Timestamp is missing or no number of seconds"
            raise UsageError(msg)
        if abs(int(timestamp) - self._now_ms() // 1_000) > TOLERANCE_S:
            msg = (
                f"X-MLflow-Timestamp is more than {TOLERANCE_S} s away: clocks differ, or it is a repetition"
            )
            raise UsageError(msg)

    def _check_signature(self, given: str, id_: str, timestamp: str, body: bytes) -> None:
        key = self._secret().encode()
        digest = hmac.new(key, f"{id_}.{timestamp}.".encode() + body, hashlib.sha256).digest()
        wanted = "v1," + base64.b64encode(digest).decode()
        if not hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode()):
            msg = "X-MLflow-Signature does not fit: check that both sides have the same secret"
            raise UsageError(msg)

    def _secret(self) -> str:
        options = self._options
        if options is None:
            return ""
        key, pointer = options.secret_at
        return secret(key, pointer, self._environment)

    def _deployment(self, id_: str, body: bytes) -> Deployment | None:
        try:
            told = json.loads(body)
            data = told["data"]
            what = told["entity"], told["action"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            msg = "the body is no webhook of MLflow (an object with entity, action and data)"
            raise UsageError(msg) from error
        if what != CREATED or not isinstance(data, dict) or self._options is None:
            return None
        if data.get("alias") != self._options.alias:
            return None
        return Deployment(
            self._model_of(_text(data, "name")),
            _text(data, "version"),
            self._now_ms(),
            "mlflow",
            "mlflow",
            f"alias {self._options.alias}",
            f"mlflow-{id_}"[:64],
        )

    def _model_of(self, name: str) -> str:
        models = {} if self._options is None else self._options.models
        return models.get(name, name)


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str | int) or not 0 < len(str(value)) <= 256 or not _is_storable(str(value)):
        msg = f"data.{key} of the webhook is missing or no name"
        raise UsageError(msg)
    return str(value)


def _is_storable(text: str) -> bool:
    """Whether both databases can keep a text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and text.encode("utf-8", "ignore").decode() == text
