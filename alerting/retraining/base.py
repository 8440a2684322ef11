"""What every retraining target is: options that build it, a way to start a run, a way to follow it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from alerting.contributed import Configured
from alerting.http.addresses import Resolve, resolve_all
from alerting.http.client import HttpClient
from alerting.http.receiver import client_of
from alerting.retraining.options import TargetOptions
from alerting.retraining.request import RetrainingRequest
from alerting.retraining.run import Run
from alerting.secrets import Secrets


@dataclass(frozen=True)
class Example:
    """Options with which the generic suite tries a target against a local server.

    Parameters
    ----------
    options : mapping
        As in the configuration; ``{server}`` in a text stands for the address of the server.
    environment : mapping of str to str
        Variables that the options name; none of the values may ever show up in a message.
    """

    options: Mapping[str, object]
    environment: Mapping[str, str] = field(default_factory=dict)


class RetrainingTarget(Configured):
    """Starts runs of one pipeline, and follows them.

    Parameters
    ----------
    options : TargetOptions
        An instance of the class's own `Options`.
    secrets : Secrets
        Where the secrets that the options name are read; anew for every request, so that they may change.
    now_ms : callable
        Wall clock, epoch milliseconds.
    resolve : callable
        Looks names up.

    Guarantees
    ----------
    May be used from several threads. Retries are not its business. Secrets are in no message, representation
    or log line.
    """

    Options: ClassVar[type[TargetOptions]]
    options: TargetOptions
    idempotent: ClassVar[bool] = False
    """Whether the target itself makes sure that a request that comes twice starts one run."""
    can_find: ClassVar[bool] = False
    """Whether a run that was started, but whose answer was lost, can be looked up; see `find`."""

    def __init__(
        self,
        options: TargetOptions,
        secrets: Secrets,
        now_ms: Callable[[], int],
        resolve: Resolve = resolve_all,
    ) -> None:
        self.options = options
        self.secrets = secrets
        self.now_ms = now_ms
        self.http: HttpClient = client_of(options, secrets, self.api_url(), now_ms, resolve)

    @property
    def can_follow(self) -> bool:
        """Whether the target can tell how a run goes on."""
        return True

    @property
    def ui_url(self) -> str:
        """Address that the pages for people begin with."""
        return (self.options.ui_url or self.api_url()).rstrip("/")

    @abstractmethod
    def api_url(self) -> str:
        """Address that the paths of the API are added to."""

    def start(self, request: RetrainingRequest) -> Run:
        """Start a run, unless this request has already started one that can be found.

        Parameters
        ----------
        request : RetrainingRequest
            Why and on what to train. The same request may come again if an earlier answer was lost.

        Returns
        -------
        Run
            The run of this request, whether it was started now or earlier.

        Raises
        ------
        RetryLater
            The outcome is unknown, or a later attempt may go through.
        DeliveryError
            The target refused this request and will refuse it again; says what to do about it.
        """
        return self.find(request) or self.launch(request)

    def find(self, request: RetrainingRequest) -> Run | None:
        """Look for the run that this request started; ``None`` if there is none or it cannot be known.

        Raises
        ------
        RetryLater, DeliveryError
            As `start`.
        """
        return None

    @abstractmethod
    def launch(self, request: RetrainingRequest) -> Run:
        """Start a run without looking for an earlier one, except by the target's own key; see `start`."""

    def follow(self, run: Run) -> Run:
        """Ask how a run goes on; one that is over is returned as it is.

        Returns
        -------
        Run
            As it is now; its state is `RunState.UNKNOWN` if the target no longer knows it.

        Raises
        ------
        RetryLater, DeliveryError
            As `start`.
        """
        return run if run.state.is_over or not self.can_follow else self.observe(run)

    def observe(self, run: Run) -> Run:
        """Ask for the state of a run that is not over."""
        return run

    @abstractmethod
    def check(self) -> str:
        """Find out whether a run could be started, without starting one.

        Returns
        -------
        str
            What was found, in a few words.

        Raises
        ------
        DeliveryError
            If the target cannot be reached, refuses us or does not know the pipeline.
        """

    @classmethod
    @abstractmethod
    def examples(cls) -> list[Example]:
        """Options for the generic suite, one for each way of working."""

    def close(self) -> None:
        """Let go of connections."""
        self.http.close()
