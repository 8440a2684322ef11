"""Calls of Slack's API through the real SDK, and what went wrong told apart: try later, or mend something."""

from __future__ import annotations

import http.client
import logging
import re
import urllib.error
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackRequestError
from slack_sdk.web import SlackResponse

from alerting.http.client import PASSING as PASSING_STATUSES
from alerting.http.retry_after import retry_after_s
from schemas.errors import DeliveryError, RetryLater

PASSING = frozenset(
    {
        "ratelimited",
        "rate_limited",
        "message_limit_exceeded",
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "accesslimited",
    }
)
HINTS = {
    "channel_not_found": "check the channel's name, and invite the bot to it if it is private",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": "unarchive the channel or name another",
    "invalid_auth": "the token is not valid: create a new one",
    "not_authed": "the token is empty: check token_env or token_file",
    "account_inactive": "the bot was removed from the workspace: install it again",
    "token_revoked": "the token was revoked: create a new one",
    "token_expired": "the token has expired: create a new one",
    "not_allowed_token_type": "token is the bot's (xoxb-…), app_token that of the app (xapp-…)",
    "missing_scope": "give the bot the scope chat:write, and files:write for charts",
    "no_permission": "give the bot the scope chat:write, and files:write for charts",
    "restricted_action": "a workspace setting keeps the bot from posting in this channel",
    "file_uploads_disabled": "a workspace setting forbids files: set charts: false",
    "no_service": "the incoming webhook was removed: create a new one",
    "invalid_token": "the incoming webhook's address is not valid: create a new one",
}
_ERROR_CODE = re.compile(r"[a-z][a-z0-9_]{1,79}")

# slack-sdk would log addresses that are secrets; what fails is reported by the error that is raised.
silent = logging.getLogger("driftline.slack")
silent.setLevel(logging.CRITICAL)


class Refused(DeliveryError):  # noqa: N818 - reads as a state in `except Refused`
    """Slack understood and said no.

    Parameters
    ----------
    code : str
        Slack's own name of the reason.
    """

    def __init__(self, code: str) -> None:
        hint = HINTS.get(code)
        super().__init__(f"Slack refused: {code}" + (f" ({hint})" if hint else ""))
        self.code = code


class SharingUnknown(RetryLater):
    """Files were uploaded, and no answer says whether the channel shows them."""


class SlackApi:
    """A client of Slack's API whose calls raise Driftline's errors.

    Parameters
    ----------
    token : SecretStr
        Of a bot, or of an app.
    base_url : str
        Slack's API.
    timeout_s : float
        For connecting and for the answer, each.
    now_ms : callable
        Wall clock, for times in ``Retry-After``.
    """

    def __init__(self, token: SecretStr, base_url: str, timeout_s: float, now_ms: Callable[[], int]) -> None:
        # Whoever calls retries; an empty list keeps the SDK from doing it as well. The SDK wants whole
        # seconds by its annotations and takes fractions.
        shared: dict[str, Any] = {"timeout": timeout_s, "logger": silent, "retry_handlers": []}
        self.client = _Client(token.get_secret_value(), base_url=base_url, **shared)
        self._now_ms = now_ms

    def call(self, method: Callable[..., SlackResponse], **arguments: object) -> Mapping[str, Any]:
        """Call a method of `client` once.

        Returns
        -------
        mapping
            Slack's answer.

        Raises
        ------
        RetryLater
            A limit, trouble of Slack's, or no answer: the outcome is unknown.
        Refused
            Anything else that Slack says.
        """
        try:
            answer = method(**arguments)
        except SlackApiError as error:
            response = error.response
            code = code_of(response.data)
            raise error_of(response.status_code, response.headers, code, self._now_ms()) from None
        except SlackRequestError:
            msg = "an answer of Slack that cannot be read"
            raise RetryLater(msg) from None
        except urllib.error.HTTPError as error:
            with error:  # the answer is read no further
                headers = dict(error.headers.items())
            raise error_of(error.code, headers, "", self._now_ms()) from None
        except (OSError, http.client.HTTPException) as error:
            raise unknown_outcome(error) from None
        data: Mapping[str, Any] = answer.data  # type: ignore[assignment]  # bytes only for calls of the SDK's that are not used here
        return data


class _Client(WebClient):
    """The SDK's client, which tells when only the last step of an upload is in doubt."""

    def files_completeUploadExternal(self, **arguments: Any) -> SlackResponse:  # noqa: N802 - the SDK's name
        """Share uploaded files; see the SDK."""
        try:
            return super().files_completeUploadExternal(**arguments)
        except (OSError, http.client.HTTPException) as error:
            raise SharingUnknown(str(unknown_outcome(error))) from None


def error_of(status: int, headers: Mapping[str, str], code: str, now_ms: int) -> DeliveryError:
    """Tell what passes (limits, Slack's own trouble) from what a person has to mend.

    Examples
    --------
    >>> error_of(429, {"Retry-After": "30"}, "ratelimited", 0).after_s
    30.0
    >>> error_of(200, {}, "is_archived", 0)
    Refused('Slack refused: is_archived (unarchive the channel or name another)')
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    after_s = retry_after_s(lowered.get("retry-after"), now_ms)
    if status in PASSING_STATUSES or code in PASSING:
        return RetryLater(f"Slack asks to wait ({status} {code})", after_s)
    if status >= 500 or (status == 200 and not code):
        return RetryLater(f"an answer with status {status} that is not Slack's", after_s)
    return Refused(code or f"status {status}")


def code_of(data: object) -> str:
    """Read Slack's error code; empty if the answer is not Slack's (a page of a proxy, say)."""
    code = data.get("error", "") if isinstance(data, dict) else ""
    return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else ""


def unknown_outcome(error: Exception) -> RetryLater:
    """Say that no answer came, without the address, which may be a secret."""
    reason = getattr(error, "reason", error)
    kind = "timed out" if isinstance(reason, TimeoutError) else f"connection failed ({type(reason).__name__})"
    return RetryLater(f"no answer from Slack: {kind}")
