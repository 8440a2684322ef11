"""The whole configuration: what is read from ``driftline.yaml``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from alerting.retraining.options import TargetOptions
from monitor.config.alerts import Alerts
from monitor.config.crosschecks import problems_across
from monitor.config.dead_letters import DeadLetters, dead_letter_problems
from monitor.config.keep import Keep, kept
from monitor.config.problem import Path, Positions, Problem, show
from monitor.config.receivers import Receiver
from monitor.config.schema_registry import Registry
from monitor.config.secrets import is_pointer, secret, secret_problem
from monitor.config.section import Finding, Section, report
from monitor.config.service import Http, Ingest, Kafka, Stream, Topics
from monitor.config.settings import ModelSettings
from monitor.config.sign_in import OidcSignIn
from monitor.config.tracing import NEEDS_PACKAGES, Tracing
from monitor.config.values import DurationMs, EnvironmentName, Name, Text, duration_between, span
from monitor.store.engine import read_url
from schemas.errors import ConfigurationError, UsageError


def _check_database_url(url: str) -> str:
    try:
        read_url(url)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return url


class Configuration(Section):
    """Everything a person can decide; see docs/configuration.md.

    Durations are milliseconds. Made by `load`, or by ``Configuration.model_validate`` of the same data.
    """

    kafka: Kafka
    """How to reach Kafka."""
    database_url: Annotated[Text, AfterValidator(_check_database_url)] | None = Field(
        None,
        repr=False,
        json_schema_extra={
            "examples": ["sqlite:///driftline.db", "postgresql+psycopg://driftline@db/driftline"]
        },
    )
    """SQLite (a relative file is relative to where the service starts) or PostgreSQL."""
    database_url_env: EnvironmentName | None = None
    """Environment variable that holds the URL, in place of `database_url`: a URL may contain a password."""
    database_url_file: Text | None = None
    """File that holds the URL, in place of `database_url`."""
    http: Http = Http()
    """Where the console, the API and the metrics are served."""
    commit_interval_ms: Annotated[DurationMs, duration_between("100ms", "5m")] = span(
        "5s", alias="commit_interval"
    )
    """Longest time between two commits of counts and positions."""
    ingest: Ingest = Ingest()
    """How events are taken in."""
    topics: Topics = Topics()
    """Names of the topics that Driftline itself writes."""
    streams: Annotated[tuple[Stream, ...], Field(min_length=1)]
    """Topics to read."""
    dead_letters: DeadLetters | None = None
    """Where messages that cannot be taken in are sent on to; without this, they are only stored."""
    registry: Registry | None = None
    """The schema registry, for streams whose messages name their schema."""
    defaults: ModelSettings = ModelSettings()
    """How every model is watched."""
    models: dict[Name, ModelSettings] = Field(default={})
    """How single models are watched; `defaults` hold for what an entry leaves out and for other models."""
    alerts: Alerts = Alerts()
    """When people are told, and who."""
    receivers: dict[Name, Receiver] = Field(default={})
    """Where alerts can be sent."""
    keep: Keep = Keep()
    """How long data is kept."""
    tracing: Tracing | None = None
    """Spans of what Driftline does, by OpenTelemetry; without this, there are none."""

    _positions: Positions = PrivateAttr(default_factory=lambda: Positions("driftline.yaml", {}))
    _old_names: tuple[Problem, ...] = PrivateAttr(default=())
    _effective: dict[str, ModelSettings] = PrivateAttr(default_factory=dict)
    _hashes: dict[int, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _check_across(self) -> Configuration:
        across = problems_across(
            defaults=self.defaults,
            models=self.models,
            streams=dict(enumerate(self.streams)),
            topics=self.topics,
            routes=dict(enumerate(self.alerts.routes)),
            digest=self.alerts.digest,
            receivers=self.receivers,
            urls=[name for name in _URL_KEYS if getattr(self, name) is not None],
            http=self.http,
            keep=self.keep,
        )
        read = [stream.topic for stream in self.streams]
        elsewhere = dead_letter_problems(self.dead_letters, read, self.topics)
        report([*across, *self._without_registry(), *elsewhere])
        return self

    def _without_registry(self) -> list[Finding]:
        """Find streams that cannot be read without a schema registry."""
        named = [at for at, stream in enumerate(self.streams) if stream.format == "registry"]
        message = "'registry' needs a schema registry (set registry.url)"
        return [] if self.registry else [(("streams", at, "format"), message) for at in named]

    def model_post_init(self, _context: Any) -> None:
        """Work out the settings in effect once; models without an entry share those of `defaults`."""
        for stream in self.streams:
            stream.using(self.registry)
        for name, entry in self.models.items():
            self._effective[name] = self.defaults.overlaid(entry)

    def for_model(self, name: str) -> ModelSettings:
        """Settings in effect for a model: its entry on top of ``defaults``.

        Parameters
        ----------
        name : str
            Any model, with or without an entry.

        Returns
        -------
        ModelSettings
            The same object on every call; takes no memory for models without an entry.
        """
        return self._effective.get(name, self.defaults)

    @property
    def console_url(self) -> str:
        """Address of the console, for links in messages."""
        if self.http.public_url is not None:
            return self.http.public_url.rstrip("/")
        host = "127.0.0.1" if self.http.host in ("0.0.0.0", "::") else self.http.host  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.http.port}" if self.http.port else ""

    @property
    def targets(self) -> frozenset[str]:
        """Names of the receivers that start retraining."""
        return frozenset(
            name for name, options in self.receivers.items() if isinstance(options, TargetOptions)
        )

    @property
    def longest_window_ms(self) -> int:
        """Length of the longest window that is judged of any model."""
        settings = [self.defaults, *self._effective.values()]
        return max(one.windows[0].length_ms for one in settings)

    @property
    def kept(self) -> Keep:
        """How long data is kept, with what follows from the models."""
        return kept(self.keep, [self.defaults, *self._effective.values()])

    def hash_for(self, model: str) -> str:
        """SHA-256 of the settings in effect for a model, for provenance; no secrets go into it.

        Returns
        -------
        str
            64 hexadecimal digits; equal exactly when the settings are.
        """
        settings = self.for_model(model)
        if id(settings) not in self._hashes:
            canonical = json.dumps(settings.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
            self._hashes[id(settings)] = hashlib.sha256(canonical.encode()).hexdigest()
        return self._hashes[id(settings)]

    def database(self, environ: Mapping[str, str] | None = None) -> str:
        """URL of the database, wherever it is given. May contain a password: not for logs.

        Raises
        ------
        ConfigurationError
            If the variable or file is missing, or holds something else.
        """
        if self.database_url is not None:
            return self.database_url
        key = next(name for name in _URL_KEYS if getattr(self, name) is not None)
        try:
            return _check_database_url(secret(key, getattr(self, key), environ))
        except ValueError as error:
            raise ConfigurationError([str(self._positions.problem((key,), str(error)))]) from None

    def secrets_missing(self, environ: Mapping[str, str] | None = None) -> list[str]:
        """Find the secrets that cannot be had here and now.

        Parameters
        ----------
        environ : Mapping of str to str, optional
            Environment variables; default: those of this process.

        Returns
        -------
        list of str
            ``file:line: path: what is wrong``; empty if the service can start.
        """
        return [str(problem) for problem in self.secret_problems(environ)]

    def secret_problems(self, environ: Mapping[str, str] | None = None) -> list[Problem]:
        """Like `secrets_missing`, with file, line and path apart."""
        found = (
            (path, secret_problem(str(path[-1]), pointer, environ)) for path, pointer in self._pointers()
        )
        return [self._positions.problem(path, reason) for path, reason in found if reason]

    def advice(self) -> list[Problem]:
        """Find what is allowed and will probably still have to be changed."""
        found: list[Finding] = []
        if self.database_url is not None and read_url(self.database_url).password:
            message = "contains a password (better: database_url_env or database_url_file)"
            found.append((("database_url",), message))
        if self.http.sign_in is not None and (self.http.public_url or "").startswith("http://"):
            message = "is not https: whoever listens on the way can take a session over"
            found.append((("http", "public_url"), message))
        if self.tracing is not None and not self.tracing.has_packages:
            found.append((("tracing",), NEEDS_PACKAGES))
        for place, settings in [(("defaults",), self.defaults), *_placed(self.models)]:
            file = settings.reference.file
            if file is not None and not (self.folder / file).exists():
                found.append(((*place, "reference", "file"), f"{show(file)} does not exist here"))
        return [*self._old_names, *(self._positions.problem(path, message) for path, message in found)]

    @property
    def old_names(self) -> tuple[Problem, ...]:
        """Options that the file gives under names that will stop working; see `monitor.config.deprecated`."""
        return self._old_names

    @property
    def folder(self) -> FilePath:
        """Folder of the configuration file, which relative paths of reference files start from."""
        return FilePath(self._positions.file).parent

    def where(self, *path: str | int) -> str:
        """Write ``file:line`` of a place in the file, for messages made while running."""
        return f"{self._positions.file}:{self._positions.line_of(path)}"

    def located(self, positions: Positions, warnings: Sequence[Problem] = ()) -> Configuration:
        """Remember where things stand in the file, and what it calls by old names; returns itself."""
        self._positions = positions
        self._old_names = tuple(warnings)
        return self

    def _pointers(self) -> Iterator[tuple[Path, str]]:
        """Every ``…_env`` and ``…_file`` that names a secret."""
        for key in _URL_KEYS[1:]:
            if getattr(self, key) is not None:
                yield (key,), getattr(self, key)
        for key, value in self.kafka.options.items():
            if is_pointer(key):
                yield ("kafka", "options", key), str(value)
        token = None if self.http.events is None else self.http.events.token_at
        if token is not None:
            yield ("http", "events", token[0]), token[1]
        if self.http.mlflow is not None:
            key, pointer = self.http.mlflow.secret_at
            yield ("http", "mlflow", key), pointer
        client = self.http.sign_in if isinstance(self.http.sign_in, OidcSignIn) else None
        if client is not None and client.client_secret_at is not None:
            yield ("http", "sign_in", client.client_secret_at[0]), client.client_secret_at[1]
        password = None if self.registry is None else self.registry.password_at
        if password is not None:
            yield ("registry", password[0]), password[1]
        headers = None if self.tracing is None else self.tracing.headers_at
        if headers is not None:
            yield ("tracing", headers[0]), headers[1]
        for name, options in self.receivers.items():
            for key in type(options).model_fields:
                value = getattr(options, key)
                if is_pointer(key) and isinstance(value, str):
                    yield ("receivers", name, key), value


def _placed(models: Mapping[str, ModelSettings]) -> list[tuple[Path, ModelSettings]]:
    return [(("models", name), settings) for name, settings in models.items()]


_URL_KEYS = ("database_url", "database_url_env", "database_url_file")
