"""Argo Events: an event for a webhook event source, or for the events endpoint of the Argo server.

Notes
-----
The receiver queues the event and tells neither whether a workflow came of it nor how it went, and it does not
recognise repetitions. The event holds ``name``, ``driftline-{id of the request}``: a sensor or a
WorkflowEventBinding that names the workflow so (``metadata: {name: payload.name}``) starts it only once.

References
----------
https://argoproj.github.io/argo-events/eventsources/setup/webhook/
https://argo-workflows.readthedocs.io/en/latest/events/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

from pydantic import StringConstraints, model_validator

from alerting.http.addresses import Resolve, resolve_all
from alerting.http.client import segment
from alerting.retraining.argo_workflows import ResourceName
from alerting.retraining.base import Example, RetrainingTarget
from alerting.retraining.credentials import Credential
from alerting.retraining.options import AddressOptions, TokenOptions
from alerting.retraining.request import RetrainingRequest, document
from alerting.retraining.run import Run, RunState
from alerting.secrets import Secrets

# An event source answers 400 or 405 to anything but the method it waits for.
THERE = (400, 404, 405)


class ArgoEventsOptions(AddressOptions, TokenOptions):
    """Options of an ``argo_events`` target.

    Parameters
    ----------
    url : str
        Address of the webhook event source with its endpoint; with `namespace` that of the Argo server.
    namespace : str, optional
        Sends to ``/api/v1/events/{namespace}/{discriminator}`` of the Argo server.
    discriminator : str, optional
        What a WorkflowEventBinding may select by; goes with `namespace`.
    token_env, token_file : str, optional
        Bearer token: of a service account, or that of the event source's ``authSecret``.
    """

    type: Literal["argo_events"]
    namespace: ResourceName | None = None
    discriminator: Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,128}$")] | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.discriminator is not None and self.namespace is None:
            msg = "discriminator given without namespace (an event source needs neither)"
            raise ValueError(msg)
        return self


class ArgoEventsTarget(RetrainingTarget):
    """Sends events; see the notes of the module."""

    Options = ArgoEventsOptions
    options: ArgoEventsOptions

    def __init__(
        self,
        options: ArgoEventsOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        super().__init__(options, secrets, now_ms, resolve)
        self._token = Credential.optional(self, "token")

    @property
    def can_follow(self) -> bool:
        """Never: the receiver does not say which workflow an event started."""
        return False

    def api_url(self) -> str:
        """Address of the event source or the Argo server."""
        return self.options.url

    def launch(self, request: RetrainingRequest) -> Run:
        """Send the event; the run is of unknown state from then on."""
        name = f"driftline-{request.id}"
        event = {"name": name, "type": "driftline.retraining.requested", "retraining": document(request)}
        # Argo hands on headers that begin with x-.
        headers = {"x-driftline-request-id": request.id, **self._authorization()}
        self.http.post(self._path(), event, headers=headers)
        return Run(
            name, self._page(), RunState.UNKNOWN, "the event was taken; Argo does not tell what came of it"
        )

    def check(self) -> str:
        """Ask for the bindings of the namespace, or whether the event source answers at all."""
        if self.options.namespace:
            path = f"/api/v1/workflow-event-bindings/{self.options.namespace}"
            found = self.http.get(path, headers=self._authorization()).items("items")
            return f"{len(found)} event bindings in namespace {self.options.namespace}"
        answer = self.http.send("HEAD", "", b"", self._authorization(), accept=THERE)
        return f"answers with {answer.status}"

    @classmethod
    def examples(cls) -> list[Example]:
        """An event source, and the endpoint of the Argo server."""
        source: dict[str, object] = {
            "type": "argo_events",
            "url": "{server}/retrain",
            "token_env": "EVENTS_TOKEN",
            "allow_private": True,
        }
        server = {**source, "url": "{server}", "namespace": "ml", "discriminator": "driftline"}
        token = {"EVENTS_TOKEN": "token-of-events"}
        return [Example(source, token), Example(server, token)]

    def _path(self) -> str:
        if not self.options.namespace:
            return ""
        return f"/api/v1/events/{self.options.namespace}/{segment(self.options.discriminator or '')}"

    def _page(self) -> str:
        namespace = self.options.namespace
        if namespace:
            return f"{self.ui_url}/workflows/{segment(namespace)}"
        return self.options.ui_url or ""

    def _authorization(self) -> dict[str, str]:
        return self._token.bearer() if self._token else {}
