"""Options of the running service: Kafka, HTTP, streams, ingestion, topic names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, PrivateAttr, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from monitor.config.limits import HttpLimits
from monitor.config.problem import choices, is_secret_name, nearest, show
from monitor.config.schema_registry import Registry
from monitor.config.secrets import is_pointer, name_of_secret, secret
from monitor.config.section import Finding, Section, report
from monitor.config.sign_in import Network, RoleName, SignIn
from monitor.config.values import (
    DurationMs,
    EnvironmentName,
    Flag,
    HostName,
    Name,
    Scalar,
    Share,
    Text,
    TopicName,
    Whole,
    duration_between,
    span,
)
from monitor.decode.reading import FieldRole, Reading

OptionValue = str | int | float | bool

_SET_BY_DRIFTLINE = {
    "bootstrap.servers": "kafka.bootstrap_servers",
    "group.id": "kafka.group_id",
    "auto.offset.reset": "kafka.start",
    "enable.auto.commit": "the database, which owns the position",
    "enable.auto.offset.store": "the database, which owns the position",
}
# Names that only sound like secrets.
_NOT_SECRET = frozenset(
    {
        "sasl.oauthbearer.token.endpoint.url",
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.assertion.private.key.file",
    }
)


class Kafka(Section):
    """How to reach Kafka."""

    bootstrap_servers: Text
    """Brokers to begin with, `host:port` separated by commas."""
    group_id: Name = "driftline"
    """Consumer group: processes of one group share the partitions."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a partition that was never read begins. Later starts go on where the database stands."""
    options: dict[str, Scalar] = Field(
        default={}, json_schema_extra={"examples": [{"security.protocol": "sasl_ssl"}]}
    )
    """Options for librdkafka, as they are. Secret ones are given as `<option>_env` or `<option>_file`."""

    @model_validator(mode="after")
    def _check_options(self) -> Kafka:
        report([(("options", key), problem) for key in self.options if (problem := _option_problem(key))])
        return self

    def client_options(self, environ: Mapping[str, str] | None = None) -> dict[str, OptionValue]:
        """Build the options for librdkafka, with secrets filled in.

        Parameters
        ----------
        environ : Mapping of str to str, optional
            Environment variables; default: those of this process.

        Returns
        -------
        dict of str to scalar
            `bootstrap.servers` and everything under `options`. Contains secrets: not for logs.

        Raises
        ------
        ConfigurationError
            If a secret is missing; `Configuration.secrets_missing` finds that out before.
        """
        result: dict[str, OptionValue] = {"bootstrap.servers": self.bootstrap_servers}
        for key, value in self.options.items():
            if is_pointer(key):
                result[name_of_secret(key)] = secret(key, str(value), environ)
            else:
                result[key] = value
        return result


def _option_problem(key: str) -> str | None:
    if key in _SET_BY_DRIFTLINE:
        return f"is set by Driftline (see {_SET_BY_DRIFTLINE[key]})"
    if is_secret_name(key) and key not in _NOT_SECRET:
        return f"secrets are not written here (use {key}_env or {key}_file)"
    return None


class HttpEvents(Section):
    """Events that come by HTTP, and go on to Kafka."""

    predictions: TopicName | None = None
    """Topic for predictions; one of `streams`."""
    labels: TopicName | None = None
    """Topic for labels; one of `streams`."""
    token_env: EnvironmentName | None = None
    """Environment variable with the token that senders give as `Authorization: Bearer`."""
    token_file: Text | None = None
    """File with that token."""
    max_bytes: Annotated[Whole, Field(ge=1_024, le=16_777_216)] = 1_048_576
    """Largest body of a request, as it is sent and unpacked; brokers take 1 MiB a message by default."""

    @property
    def token_at(self) -> tuple[str, str] | None:
        """Key and pointer of the token; None if there is none."""
        for key in ("token_env", "token_file"):
            if getattr(self, key) is not None:
                return key, getattr(self, key)
        return None

    @model_validator(mode="after")
    def _check_together(self) -> HttpEvents:
        findings: list[Finding] = []
        if self.predictions is None and self.labels is None:
            findings.append(((), "names no topic (give predictions, or labels, or both)"))
        if self.token_env is not None and self.token_file is not None:
            findings.append((("token_file",), "stands beside token_env (give one of them)"))
        report(findings)
        return self


class MlflowOptions(Section):
    """Webhooks of MLflow's model registry: an alias that moves to a version is a deployment."""

    secret_env: EnvironmentName | None = None
    """Environment variable with the secret that the webhook was made with."""
    secret_file: Text | None = None
    """File with that secret."""
    alias: Name = "champion"
    """Alias of the version that is in use."""
    models: dict[Name, Name] = Field(default={})
    """Names of models here by their names in the registry, where they differ."""

    @property
    def secret_at(self) -> tuple[str, str]:
        """Key and pointer of the secret."""
        for key in ("secret_env", "secret_file"):
            if getattr(self, key) is not None:
                return key, getattr(self, key)
        return "secret_env", ""

    @model_validator(mode="after")
    def _check_together(self) -> MlflowOptions:
        given = [key for key in ("secret_env", "secret_file") if getattr(self, key) is not None]
        report([] if len(given) == 1 else [((), "needs exactly one of secret_env and secret_file")])
        return self


class Http(Section):
    """Where the console, the API and the metrics are served."""

    host: Text = "127.0.0.1"
    """Address to listen on; `0.0.0.0` for all."""
    port: Annotated[Whole, Field(ge=0, le=65_535)] = 8420
    """Port to listen on; 0 for any free one."""
    public_url: Annotated[Text, Field(pattern=r"^https?://[^@\s]+$")] | None = Field(
        None, json_schema_extra={"examples": ["https://driftline.example.org"]}
    )
    """Address under which people reach the console, for links in messages; by default `host` and `port`."""
    events: HttpEvents | None = None
    """Events that come by HTTP; without this, none are taken."""
    mlflow: MlflowOptions | None = None
    """Webhooks of MLflow; without this, none are taken."""
    sign_in: SignIn | None = None
    """Who may come in; without this, everybody may do everything, and only on this machine."""
    allow_anonymous: Flag = False
    """Lets everybody in who reaches the port: for a private network with a door of its own."""
    anonymous_role: RoleName = "viewer"
    """What those may do then; API tokens can do more."""
    metrics_need_token: Flag = False
    """Asks for an API token at `/metrics` too, where people have to sign in."""
    trusted_proxies: Annotated[tuple[Network, ...], Field(max_length=100)] = ("127.0.0.0/8", "::1/128")
    """Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    audit_keep_ms: Annotated[DurationMs, duration_between("1d", "3650d")] = span("400d", alias="audit_keep")
    """How long it is remembered who changed what; at most a million entries are."""
    allowed_hosts: Annotated[tuple[HostName, ...], Field(max_length=100)] = ()
    """Names by which the service may be asked; by default any, where only this machine can ask local ones."""
    strict_transport_ms: Annotated[DurationMs, duration_between("5m", "1095d")] | None = Field(
        None, alias="strict_transport", json_schema_extra={"examples": ["365d"]}
    )
    """For so long browsers use HTTPS alone for all ports of this host, once they have come by it (HSTS)."""
    limits: HttpLimits = HttpLimits()
    """How much one client may ask, and how slowly."""


def known_formats() -> list[str]:
    """Names of the event formats that exist, `json` first."""
    from monitor.decode.catalog import formats  # loads the decoders; most files name no format but json

    return sorted(formats(), key=lambda name: (name != "json", name))


def _check_format(name: str) -> str:
    formats = known_formats()
    if name not in formats:
        hint = nearest(name, formats)
        msg = f"{show(name)} is no format{f'; did you mean {hint}?' if hint else ''} {choices(formats)}"
        raise ValueError(msg)
    return name


class _FormatNames:
    """Puts the names of the formats that exist into the JSON Schema."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "enum": known_formats()}


class Stream(Section):
    """One topic and what its messages are."""

    topic: TopicName
    """Name of the topic."""
    kind: Literal["predictions", "labels"]
    """What the messages say: what a model predicted, or what turned out to be true."""
    format: Annotated[Text, AfterValidator(_check_format), _FormatNames()] = "json"
    """How a message is written; `auto` finds out, message by message."""
    model: Name | None = None
    """Model of events that name none."""
    version: Name | None = None
    """Version of events that name none."""
    fields: dict[FieldRole, Text] = Field(default={})
    """Which field or output of a message is what, where its format cannot know; other fields are features."""
    inputs: Annotated[tuple[Name, ...], Field(max_length=10_000)] = ()
    """Names of features that come without names, in their order; of records, the fields that are features."""
    threshold: Share = 0.5
    """Probability from which class 1 is predicted, by binary classifiers that send probabilities alone."""
    pair_within_ms: Annotated[DurationMs, duration_between("1s", "30d")] = span("1h", alias="pair_within")
    """How long a request or a response that came alone waits for the other, before it is a dead letter."""

    _registry: Registry | None = PrivateAttr(default=None)

    def reading(self) -> Reading:
        """Return what formats are told of the messages.

        Raises
        ------
        ConfigurationError
            If a secret for the schema registry is missing.
        """
        fields = {str(role): name for role, name in self.fields.items()}
        # Driftline's own JSON never needs a schema, and is read fastest without anything to look after.
        registry = None if self._registry is None or self.format == "json" else self._registry.client()
        return Reading(self.model or "", self.version or "", fields, self.inputs, self.threshold, registry)

    def using(self, registry: Registry | None) -> None:
        """Remember the schema registry, which all streams share."""
        self._registry = registry


class Ingest(Section):
    """How events are taken in. The defaults suit two cores."""

    workers: Annotated[Whole, Field(ge=1, le=64)] = 2
    """Threads that decode and count events."""
    batch: Annotated[Whole, Field(ge=1, le=100_000)] = 10_000
    """Most messages that are fetched and decoded together."""
    commit_events: Annotated[Whole, Field(ge=1, le=10_000_000)] = 500_000
    """Events after which a commit happens even before `commit_interval` has passed."""
    memory_mib: Annotated[Whole, Field(ge=64, le=1_048_576)] = 1024
    """Memory for what is not committed yet, in MiB; beyond it, fetching waits."""


class Topics(Section):
    """Names of the topics that Driftline itself writes."""

    control: TopicName = "driftline.control"
    """Wakes evaluators: slices are ready. Nothing is lost without it, only later."""
    results: TopicName = "driftline.results"
    """Results, for taps."""
    alerts: TopicName = "driftline.alerts"
    """Alerts, for taps."""

    @model_validator(mode="after")
    def _check_distinct(self) -> Topics:
        seen: dict[str, str] = {}
        findings: list[Finding] = []
        for role, topic in (("control", self.control), ("results", self.results), ("alerts", self.alerts)):
            if topic in seen:
                findings.append(((role,), f"{show(topic)} is also the topic for {seen[topic]}"))
            seen.setdefault(topic, role)
        report(findings)
        return self
