"""Options of retraining targets as they stand in the configuration, and what their values may be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from alerting.retraining.request import ParameterName
from alerting.retraining.run import web_link
from schemas.duration import format_duration, parse_duration
from schemas.verdict import Lane

DAY = timedelta(days=1)
LONGEST = timedelta(days=366)
DURATION_PATTERN = r"^([0-9]+(ms|s|m|h|d|w))+$"


def _read_duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or len(value) > 40:
        msg = "not a duration (use 5m, 1h, 1d)"
        raise ValueError(msg)
    span_ms = parse_duration(value)
    if span_ms > LONGEST / timedelta(milliseconds=1):
        msg = "longer than 366d (use 5m, 1h, 1d)"
        raise ValueError(msg)
    return timedelta(milliseconds=span_ms)


def _read_address(url: str) -> str:
    """Check an address; the message never holds it."""
    if not web_link(url):
        msg = "not an address (use https://host/path, without credentials)"
        raise ValueError(msg)
    return url


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(lambda span: format_duration(span // timedelta(milliseconds=1)), return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["6h", "1d"]}),
]
"""A span of time, written ``6h``, ``1d``, ``2w``."""

Address = Annotated[str, AfterValidator(_read_address)]
"""An address that holds no credentials."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A name in the target's own terms."""

Parameters = Annotated[dict[Name, ParameterName], Field(min_length=1, max_length=25)]
"""The target's parameters, and what each is given: a name of `PARAMETER_NAMES`."""

LANES = (Lane.PERFORMANCE, Lane.PREDICTIONS, Lane.FEATURES, Lane.MULTIVARIATE, Lane.SEGMENTS)


class TargetOptions(BaseModel):
    """Options that every target takes; each adds its own ``type`` literal.

    Secrets are named by ``…_env`` (environment variable) or ``…_file``, so options can be shown and hashed.

    Parameters
    ----------
    allow_private : bool
        Whether the target may live at a private, loopback or link-local address. Pipelines usually do, and
        only the configuration names them; a webhook has to say so.
    timeout_s : float
        For connecting and for each answer.
    ca_file : str, optional
        Certificates to trust in place of the public ones; read once, when the target is made.
    ui_url : str, optional
        Address of the pages for people, where it is not that of the API.
    cooldown : timedelta
        Time after a run was started in which no other is started for the model.
    max_per_week : int
        Runs that may be started for a model within seven days.
    min_labels : int
        Labels that must have arrived in the range to train on; 0 asks for none.
    one_in_flight : bool
        Whether a model waits for its run to end before another is started.
    approval : {"none", "manual"}
        Whether a person has to agree before a run is started.
    dry_run : bool
        Whether requests are only recorded, and nothing is started.
    evidence : tuple of Lane
        Lanes whose findings may give rise to training. Without ``quality`` by default: data that is broken is
        to be repaired, not learned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    type: str
    allow_private: bool = True
    timeout_s: float = Field(default=15.0, gt=0, le=30)
    ca_file: str | None = None
    ui_url: Address | None = None
    cooldown: Duration = Field(default=DAY, json_schema_extra={"default": "1d"})
    max_per_week: int = Field(default=3, ge=1, le=1_000)
    min_labels: int = Field(default=0, ge=0)
    one_in_flight: bool = True
    approval: Literal["none", "manual"] = "none"
    dry_run: bool = False
    evidence: tuple[Lane, ...] = Field(default=LANES, min_length=1)


class AddressOptions(TargetOptions):
    """Options of a target that is reached at an address of its own.

    Parameters
    ----------
    url : str
        Address of the API, without credentials.
    """

    url: Address


class TokenOptions(TargetOptions):
    """Options of a target that takes a bearer token.

    Parameters
    ----------
    token_env, token_file : str, optional
        A file is read anew for every request, as tokens of Kubernetes service accounts need it.
    """

    token_env: str | None = None
    token_file: str | None = None


def chosen(mapping: Mapping[str, str], available: Mapping[str, str]) -> dict[str, str]:
    """Give a target's parameters their values.

    Examples
    --------
    >>> chosen({"MODEL": "model"}, {"model": "churn", "version": "7"})
    {'MODEL': 'churn'}
    """
    return {name: available[source] for name, source in mapping.items()}


def defaults(*names: ParameterName, prefix: str = "driftline_") -> dict[str, ParameterName]:
    """Name parameters after what they are given.

    Examples
    --------
    >>> defaults("model", "id")
    {'driftline_model': 'model', 'driftline_id': 'id'}
    """
    return {prefix + name: name for name in names}


def has_id(mapping: dict[str, Any]) -> dict[str, Any]:
    """Check that a parameter takes the id, by which the run is found again.

    Raises
    ------
    ValueError
        If none does.
    """
    if "id" not in mapping.values():
        msg = "no parameter takes id (name one, such as driftline_id: id; runs are found again by it)"
        raise ValueError(msg)
    return mapping
