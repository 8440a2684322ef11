"""Anything else that people are told through, by addresses of the library apprise (an optional extra).

Notes
-----
What apprise tells of a failure is its log: a status that it names there decides whether a message is tried
again. If a message reached some of the addresses only, the others are tried again alone; it counts as
delivered once everybody has it who takes it, and is given up if all refuse it for good.

Apprise makes its connections itself: it honours proxies of the environment, and whoever writes the addresses
decides what is reached, also inside the network. It is kept from following redirects, from loading plugins
and attachments, from writing files, and from reading escapes or templates into what is sent.

References
----------
https://appriseit.com/services/ (addresses)
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from alerting.digest import DigestNotice
from alerting.held import HeldNotice
from alerting.messages.plain import (
    Message,
    Tone,
    digest_message_of,
    held_message_of,
    message_of,
    one_line,
    plain_text,
)
from alerting.notice import Notice
from alerting.notifiers.base import Example, Notifier, ReceiverOptions, ReceiverState
from alerting.progress import Progress
from alerting.secrets import Secrets, exactly_one
from schemas.errors import DeliveryError, RetryLater

MAX_ADDRESSES = 20
# What is left of the addresses then is for the next attempt.
SEND_BUDGET_MS = 30_000
PASSING = frozenset({408, 425, 429})
HOW_TO_INSTALL = "the extra is not installed (pip install 'driftline[apprise]')"
TYPES = {Tone.ALARM: "failure", Tone.SEEN: "warning", Tone.OVER: "success", Tone.CALM: "info"}
_STATUS = re.compile(r"\berror=(\d{3})\b")


class AppriseOptions(ReceiverOptions):
    """Options of an ``apprise`` receiver; needs ``pip install driftline[apprise]``.

    Parameters
    ----------
    urls_env, urls_file : str
        Addresses such as ``ntfys://ntfy.example.com/drift``, separated by white space, at most 20; they are
        secrets themselves. Exactly one.
    timeout_s : float
        For connecting and for the answer, each.
    """

    type: Literal["apprise"]
    urls_env: str | None = None
    urls_file: str | None = None
    timeout_s: float = Field(default=10.0, gt=0, le=30)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "urls_env", "urls_file")
        return self


class AppriseNotifier(Notifier):
    """Sends every change as plain text to each of the addresses."""

    Options = AppriseOptions
    options: AppriseOptions
    only_latest_matters = True
    reads_lists = True

    def __init__(self, options: AppriseOptions, secrets: Secrets, now_ms: Callable[[], int]) -> None:
        super().__init__(options, secrets, now_ms)
        apprise = _library(secrets)
        urls = secrets.read(options, "urls").get_secret_value().split()
        if len(urls) > MAX_ADDRESSES:
            problem = secrets.problem("urls", f"{len(urls)} addresses (use at most {MAX_ADDRESSES})")
            raise problem
        asset = apprise.AppriseAsset(**_asset_options())
        self._services = {}
        for number, url in enumerate(urls, 1):
            service = apprise.Apprise(asset=asset)
            if not service.add(url):
                what = (
                    f"entry {number} is no address that apprise knows (see https://appriseit.com/services/)"
                )
                problem = secrets.problem("urls", what)
                raise problem
            self._services[str(number)] = _Service(service, options.timeout_s)
        self._progress = Progress()

    def send(self, notice: Notice, state: ReceiverState | None) -> ReceiverState | None:
        """Send one notice; keeps no state."""
        self._deliver(notice.id, message_of(notice))
        return state

    def send_digest(self, notice: DigestNotice) -> None:
        """Send what drifted in a week."""
        self._deliver(notice.id, digest_message_of(notice))

    def send_list(self, notice: HeldNotice) -> None:
        """Send what the limit held back."""
        self._deliver(notice.id, held_message_of(notice))

    def check(self) -> str:
        """Name the services; they cannot be asked without telling somebody."""
        names = ", ".join(dict.fromkeys(service.name for service in self._services.values()))
        return f"{names} through apprise (cannot be checked without posting)"

    @classmethod
    def examples(cls) -> list[Example]:
        """One address."""
        environment = {"URLS": "json://{host}:{port}/hook/path-that-is-secret"}
        options = {"type": "apprise", "urls_env": "URLS"}
        return [Example(options, environment, needs="apprise", can_ask_to_wait=False)]

    def _deliver(self, id_: str, message: Message) -> None:
        """Send to those services that have not got it yet; see `Progress.conclude` for what is raised."""
        missing: dict[str, DeliveryError] = {}
        latest_ms = self.now_ms() + SEND_BUDGET_MS
        for number in self._progress.left(id_, self._services):
            error = self._services[number].send(message, is_too_late=self.now_ms() > latest_ms)
            if error is None:
                self._progress.note(id_, got=[number])
            else:
                missing[number] = error
        self._progress.conclude(id_, len(self._services), missing)


class _Service:
    """One address."""

    def __init__(self, service: Any, timeout_s: float) -> None:
        self._service = service
        self.name = one_line(str(service[0].service_name), 40)
        for plugin in service:
            plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def send(self, message: Message, *, is_too_late: bool) -> DeliveryError | None:
        """Send a message, unless the others took too long; says what went wrong, without the address."""
        if is_too_late:
            return RetryLater(f"{self.name} has not been tried yet: others took too long")
        result = self._service.notify(
            title=message.title,
            body=plain_text(message).partition("\n\n")[2],
            body_format="text",
            notify_type=TYPES[message.tone],
        )
        if result:
            return None
        found = [int(status) for entry in result.logs() for status in _STATUS.findall(entry.message)]
        if found and all(400 <= status < 500 and status not in PASSING for status in found):
            return DeliveryError(f"{self.name} refused the message with {found[0]}")
        said = f"answered {found[0]}" if found else "did not take the message"
        return RetryLater(f"{self.name} {said}")


def _library(secrets: Secrets) -> ModuleType:
    try:
        apprise = importlib.import_module("apprise")
    except ModuleNotFoundError as error:
        problem = secrets.problem("type", HOW_TO_INSTALL)
        raise problem from error
    # They would log addresses, which are secrets; what fails is reported by the error that is raised.
    logging.getLogger("apprise").propagate = False
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return apprise


def _asset_options() -> dict[str, Any]:
    """Switch off what apprise would do beside sending a text."""
    return {
        "app_id": "Driftline",
        "app_url": "",
        "async_mode": False,
        "plugin_paths": [],
        "storage_mode": "memory",
        "secure_logging": True,
        "http_redirects": False,
        "allow_templates": False,
        "interpret_escapes": False,
        "interpret_emojis": False,
        "pgp_autogen": False,
        "pem_autogen": False,
        "default_service_retry": 0,
        "service_timeout": 0,
    }
