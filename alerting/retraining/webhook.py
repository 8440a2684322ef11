"""Any pipeline: a signed request after the Standard Webhooks specification.

Notes
-----
The body is ``{"type": "driftline.retraining.requested", "timestamp", "data"}``; ``data`` is the request.
``webhook-id`` is ``retraining-{id of the request}`` over all attempts, and receivers of Standard Webhooks are
to drop what they have seen: whether they do is theirs. The answer may be ``{"run_id", "url"}``. With
`status_url` the run is followed there; the answer is ``{"state", "url", "detail"}`` with one of the states of
`RunState`.

References
----------
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Self

import httpx
import msgspec
from pydantic import SecretStr, field_validator, model_validator

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.client import segment
from alerting.http.receiver import client_of
from alerting.http.signatures import Signatures, basic_authorization
from alerting.http.trace_context import trace_headers
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import Address, TokenOptions
from alerting.retraining.request import RetrainingRequest, document
from alerting.retraining.run import Run, RunState, web_link
from alerting.secrets import Secrets, exactly_one

MAX_RUN_ID = 256
SHORTEST_SECRET = 8  # to hide a path like / would spoil every message
EVENT = "driftline.retraining.requested"
STATES = {state.value: state for state in RunState}


class RetrainingWebhookOptions(TokenOptions):
    """Options of a ``retraining_webhook`` target.

    Parameters
    ----------
    url, url_env, url_file : str
        Where to POST; exactly one. An address that holds a token belongs in the environment or a file.
    secret_env, secret_file : str
        ``whsec_`` and 24 to 64 bytes in base64; exactly one.
    previous_secret_env, previous_secret_file : str, optional
        While a secret is being rotated: requests carry a signature of each.
    status_url : str, optional
        Where to ask how a run goes on, with ``{run_id}`` in it.
    token_env, token_file : str, optional
        Bearer token for `status_url`.
    """

    type: Literal["retraining_webhook"]
    allow_private: bool = False
    url: Address | None = None
    url_env: str | None = None
    url_file: str | None = None
    secret_env: str | None = None
    secret_file: str | None = None
    previous_secret_env: str | None = None
    previous_secret_file: str | None = None
    status_url: str | None = None

    @field_validator("status_url")
    @classmethod
    def _has_place(cls, url: str | None) -> str | None:
        if url is not None and ("{run_id}" not in url or not web_link(url.replace("{run_id}", "1"))):
            msg = "not an address with {run_id} in it (use https://host/runs/{run_id})"
            raise ValueError(msg)
        return url

    @model_validator(mode="after")
    def _complete(self) -> Self:
        exactly_one(self, "url", "url_env", "url_file")
        exactly_one(self, "secret_env", "secret_file")
        if self.status_url is None and (self.token_env or self.token_file):
            msg = "a token given without status_url (requests are signed instead)"
            raise ValueError(msg)
        return self


class RetrainingWebhookTarget(RetrainingTarget):
    """Posts signed requests; see the notes of the module."""

    Options = RetrainingWebhookOptions
    options: RetrainingWebhookOptions
    idempotent = True

    def __init__(
        self,
        options: RetrainingWebhookOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._token = Credential.optional(self, "token")
        self._url = SecretStr(str(self._address()))
        if not options.url:
            path = self._address().raw_path.decode("ascii")
            self.http.hide(self._url.get_secret_value(), path if len(path) >= SHORTEST_SECRET else "")
        self._signatures = Signatures.of(options, secrets)
        for key in self._signatures.keys:
            self.http.hide(*key.written)
        self._status = client_of(options, secrets, "", now_ms, resolve)

    @property
    def can_follow(self) -> bool:
        """Whether there is an address to ask at."""
        return self.options.status_url is not None

    @property
    def ui_url(self) -> str:
        """Address of the pages, if one is configured: that of the endpoint may be secret."""
        return (self.options.ui_url or "").rstrip("/")

    def api_url(self) -> str:
        """Address to post to, without the credentials that it may hold."""
        return str(self._address().copy_with(userinfo=b""))

    def launch(self, request: RetrainingRequest) -> Run:
        """Post the request."""
        data = {"type": EVENT, "timestamp": request.requested_at, "data": document(request)}
        body = msgspec.json.encode(data)
        signed = self._signatures.headers(f"retraining-{request.id}", body, self.now_ms())
        headers = {**signed, **self._authorization(), **trace_headers()}
        answer = self.http.send("POST", "", body, headers)
        id_ = answer.text("run_id")
        is_usable = 0 < len(id_) <= MAX_RUN_ID and id_.isprintable()
        page = web_link(answer.get("url")) or self.ui_url
        state = RunState.QUEUED if self.can_follow else RunState.UNKNOWN
        return Run(id_ if is_usable else request.id, page, state)

    def observe(self, run: Run) -> Run:
        """Ask at `status_url`."""
        url = (self.options.status_url or "").replace("{run_id}", segment(run.id))
        headers = self._token.bearer() if self._token else {}
        answer = self._status.get(url, headers=headers, accept=(404,))
        if answer.status == 404:
            return replace(run, state=RunState.UNKNOWN, detail="the pipeline no longer has this run")
        state = STATES.get(answer.need("state"), RunState.UNKNOWN)
        page = web_link(answer.get("url")) or run.url
        return Run(run.id, page, state, answer.text("detail"))

    def check(self) -> str:
        """Ask for the headers of the address; any answer below 500 but 410 shows that someone is there."""
        there = (*range(300, 410), *range(411, 500))
        answer = self.http.send("HEAD", "", b"", self._authorization(), accept=there)
        return f"answers with {answer.status}"

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._status.close()

    @classmethod
    def examples(cls) -> list[Example]:
        """One that is followed, one that rotates its secret."""
        new = "whsec_" + base64.b64encode(b"n" * 32).decode()
        old = "whsec_" + base64.b64encode(b"o" * 24).decode()
        plain: dict[str, object] = {
            "type": "retraining_webhook",
            "url": "{server}/retrain",
            "secret_env": "HOOK",
            "allow_private": True,
        }
        followed = {**plain, "status_url": "{server}/runs/{run_id}", "token_env": "STATUS_TOKEN"}
        return [
            Example(followed, {"HOOK": new, "STATUS_TOKEN": "token-of-status"}),
            Example({**plain, "previous_secret_env": "OLD_HOOK"}, {"HOOK": new, "OLD_HOOK": old}),
        ]

    def _address(self) -> httpx.URL:
        """Read the address.

        Raises
        ------
        ConfigurationError
            If the secret that holds it is missing or no address.
        """
        if self.options.url:
            return httpx.URL(self.options.url)
        text = self.secrets.read(self.options, "url").get_secret_value()
        try:
            url = httpx.URL(text if text.isprintable() else "")
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            problem = self.secrets.problem("url", "not an address (use https://host/path)")
            raise problem
        return url

    def _authorization(self) -> dict[str, str]:
        url = httpx.URL(self._url.get_secret_value())
        header = basic_authorization(url)
        for value in header.values():
            self.http.hide(value.removeprefix("Basic "), url.password)
        return header
