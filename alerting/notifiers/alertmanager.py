"""Prometheus' Alertmanager through its API v2: an incident is an alert there, and Alertmanager tells people.

Notes
-----
Alertmanager knows an alert by its labels alone, so all of them stay as they were when it was first told of
the incident, even if another model joins. Only the severity follows the incident, because people route by it:
when it changes, the alert with the old severity ends and one with the new severity begins, in one request.

An alert that is not sent again is over for Alertmanager at its ``endsAt``, and Alertmanager forgets all of
them when it is restarted: hence `AlertmanagerNotifier.resend_after_ms`. An alert that is not known here,
because its answer was lost and the severity changed before the next attempt, ends the same way.

References
----------
https://prometheus.io/docs/alerting/latest/alerts_api/ and
https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from alerting.digest import DigestNotice
from alerting.finding import instant
from alerting.http.addresses import Resolve, resolve_all
from alerting.http.client import HttpClient
from alerting.http.receiver import client_of
from alerting.messages.alertmanager_alert import (
    RESERVED_LABELS,
    PostedAlert,
    alert_of,
    digest_alert_of,
    first_labels,
    is_label_name,
)
from alerting.notice import Notice
from alerting.notifiers.base import Example, Notifier, ReceiverOptions, ReceiverState
from alerting.secrets import Secrets
from schemas.errors import DeliveryError, RetryLater

MINUTE_MS = 60_000
# What a proxy in front answers while something is rolled out: an open incident must not expire for it.
REPAIRABLE = frozenset({401, 403, 404, 405})
DIGEST_LASTS = timedelta(hours=1)
URL_PATTERN = r"^https?://[^@\s?#]+$"
logger = logging.getLogger("driftline.alertmanager")


class AlertmanagerOptions(ReceiverOptions):
    """Options of an ``alertmanager`` receiver.

    Parameters
    ----------
    url : str
        Address of Alertmanager, with its path prefix if it has one.
    peers : list of str
        Addresses of the other members of its cluster. Every alert goes to all members, as Prometheus does it,
        and counts as delivered once one of them has it.
    username : str, optional
        User for basic authentication, with `password_env` or `password_file`.
    password_env, password_file : str, optional
        Password of `username`.
    token_env, token_file : str, optional
        Bearer token, instead of a user.
    labels : dict of str
        Further labels of every alert, for routing.
    expires_after_s : float
        How long an alert lasts that is not sent again, if Driftline is away.
    allow_private : bool
        Whether Alertmanager may be at a private, loopback or link-local address.
    timeout_s : float
        For connecting and for the answer, each.
    ca_file : str, optional
        Certificates to trust in place of the public ones.
    """

    type: Literal["alertmanager"]
    url: str = Field(pattern=URL_PATTERN)
    peers: tuple[Annotated[str, Field(pattern=URL_PATTERN)], ...] = Field(default=(), max_length=4)
    username: str | None = Field(default=None, min_length=1, pattern=r"^[^:]+$")
    password_env: str | None = None
    password_file: str | None = None
    token_env: str | None = None
    token_file: str | None = None
    labels: dict[str, str] = Field(default_factory=dict, max_length=20)
    expires_after_s: float = Field(default=14_400.0, ge=900, le=604_800)
    allow_private: bool = False
    timeout_s: float = Field(default=5.0, gt=0, le=10)
    ca_file: str | None = None

    @field_validator("labels")
    @classmethod
    def _named(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not is_label_name(name) or name in RESERVED_LABELS:
                taken = ", ".join(RESERVED_LABELS)
                msg = f"'{name[:80]}' cannot be a label (use letters, digits and _, and none of {taken})"
                raise ValueError(msg)
        return labels

    @model_validator(mode="after")
    def _complete(self) -> Self:
        passwords = [name for name in ("password_env", "password_file") if getattr(self, name) is not None]
        tokens = [name for name in ("token_env", "token_file") if getattr(self, name) is not None]
        if len(passwords) > 1 or len(tokens) > 1 or (passwords and tokens):
            msg = f"{' and '.join(passwords + tokens)} given (give at most one of them)"
            raise ValueError(msg)
        if (self.username is None) != (not passwords):
            msg = "username without a password, or the other way round (give both: username and password_env)"
            raise ValueError(msg)
        return self


class AlertmanagerNotifier(Notifier):
    """Posts every incident as an alert with stable labels; the state kept is these labels."""

    Options = AlertmanagerOptions
    options: AlertmanagerOptions
    only_latest_matters = True
    resend_after_ms = 3 * MINUTE_MS

    def __init__(
        self,
        options: AlertmanagerOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms)
        urls = (options.url, *options.peers)
        self._members = [client_of(options, secrets, url, now_ms, resolve) for url in urls]
        self._headers = _Hidden(_authorization(options, secrets, self._members))

    def send(self, notice: Notice, state: ReceiverState | None) -> ReceiverState | None:
        """Post the alert of the incident, and the end of the one with another severity.

        Sending the latest notice of an open incident again moves the end of its alert.
        """
        if not notice.alert.has_fired:
            return state
        known: dict[str, str] = (state or {}).get("labels", {})
        labels = known or {**self.options.labels, **first_labels(notice)}
        now = instant(self.now_ms())
        ends = [(labels, now)]
        if notice.alert.is_open:
            labels = labels | {"severity": str(notice.alert.severity)}
            ends = [(labels, now + timedelta(seconds=self.options.expires_after_s))]
            ends += [(known, now)] if known and known != labels else []
        self._post([alert_of(notice, named, now, at) for named, at in ends])
        return {"labels": labels}

    def send_digest(self, notice: DigestNotice) -> None:
        """Post what drifted in a week as an alert that is over in an hour; nothing if nothing drifted."""
        if notice.digest.listed_total:
            now = instant(self.now_ms())
            self._post([digest_alert_of(notice, self.options.labels, now, now + DIGEST_LASTS)])

    def check(self) -> str:
        """Ask every member for its version."""
        found = []
        for member in self._members:
            version = member.get("/api/v2/status", headers=self._headers.values).text(
                "versionInfo", "version"
            )
            if not version:
                msg = "the answer is not that of Alertmanager's API v2: check the url"
                raise DeliveryError(msg)
            found.append("".join(letter for letter in version[:40] if letter.isalnum() or letter in ".+-~"))
        return f"Alertmanager {', '.join(found)}"

    def close(self) -> None:
        """Close the connections."""
        for member in self._members:
            member.close()

    @classmethod
    def examples(cls) -> list[Example]:
        """One without authentication, one with a user, one with a token."""
        plain: dict[str, object] = {"type": "alertmanager", "url": "{server}", "allow_private": True}
        answer = {"versionInfo": {"version": "0.28.1"}}
        return [
            Example(plain, answer=answer),
            Example(
                {**plain, "username": "driftline", "password_env": "PASSWORD"},
                {"PASSWORD": "pass-phrase"},
                answer,
            ),
            Example({**plain, "token_env": "TOKEN"}, {"TOKEN": "token-of-the-proxy"}, answer),
        ]

    def _post(self, alerts: list[PostedAlert]) -> None:
        """Post to every member.

        Raises
        ------
        RetryLater
            If none has the alerts and one of them may take them later.
        DeliveryError
            If all refuse them.
        """
        with ThreadPoolExecutor(len(self._members), "alertmanager") as pool:
            found = list(pool.map(lambda member: self._failure(member, alerts), self._members))
        failures = [error for error in found if error is not None]
        for number, error in enumerate(found, 1):
            if error is not None:
                logger.warning("member %d of %d has no alert: %s", number, len(self._members), error)
        if len(failures) == len(self._members):
            raise next((error for error in failures if isinstance(error, RetryLater)), failures[0])

    def _failure(self, member: HttpClient, alerts: list[PostedAlert]) -> DeliveryError | None:
        """Post to one member; all are asked at once, so that a dead one does not hold up the others."""
        try:
            answer = member.post("/api/v2/alerts", alerts, headers=self._headers.values, accept=REPAIRABLE)
        except DeliveryError as error:
            return error
        return RetryLater(str(member.error(answer))) if answer.status in REPAIRABLE else None


class _Hidden:
    """Headers that hold a secret."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _authorization(
    options: AlertmanagerOptions, secrets: Secrets, members: list[HttpClient]
) -> dict[str, str]:
    for name in ("password", "token"):
        secret = secrets.read_optional(options, name)
        if secret is not None:
            text = secret.get_secret_value()
            if not text.isascii() or not text.isprintable():
                problem = secrets.problem(name, "holds characters that cannot stand in a header")
                raise problem
            pair = base64.b64encode(f"{options.username}:{text}".encode()).decode()
            for member in members:
                member.hide(text, pair)
            return {"authorization": f"Basic {pair}" if name == "password" else f"Bearer {text}"}
    return {}
