"""Says why Kafka cannot be reached: of all that a client reports, what helps most, and nothing secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from monitor.logs import mask
from schemas.errors import ConfigurationError

T = TypeVar("T")

_TELLING = (KafkaError._AUTHENTICATION, KafkaError._SSL)
_DULL = (KafkaError._ALL_BROKERS_DOWN,)
_MOMENT = re.compile(r" \(after \d+ms in state \w+(, \d+ identical error\(s\) suppressed)?\)")


class Reasons:
    """Collects what a client says of its troubles.

    Parameters
    ----------
    options : mapping
        The client's options.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._said: list[KafkaError] = []

    def note(self, error: KafkaError) -> None:
        """Take in one report, as the client's ``error_cb``."""
        self._said.append(error)

    @property
    def are_final(self) -> bool:
        """Whether one of them is a refusal: of a certificate, a password or a token."""
        return any(error.code() in _TELLING for error in self._said)

    def text(self, error: KafkaError) -> str:
        """The most telling of the reports, or else the error that a call ended with; holds no secret."""
        best = min([*self._said, error], key=_rank)
        said = _MOMENT.sub("", best.str())
        if best.code() == KafkaError._AUTHENTICATION:
            said += self._login(said)
        elif best.code() not in _TELLING:
            said += self._hint(said)
        return mask(said)

    def _login(self, said: str) -> str:
        """The mechanism, and who gives the tokens, unless they are said already."""
        mechanism = self._options.get("sasl.mechanism", self._options.get("sasl.mechanisms", "GSSAPI"))
        provider = self._options.get("sasl.oauthbearer.token.endpoint.url")
        asked = f" from {provider}" if provider else ""
        return asked if str(mechanism) in said else f" (mechanism {mechanism}{asked})"

    def _hint(self, said: str) -> str:
        if "certificate" in said and "alert" in said:
            return " (the broker does not accept the client's certificate: see ssl.certificate.location)"
        protocol = str(self._options.get("security.protocol", "plaintext"))
        return f" (security.protocol is {protocol}: is that what this port speaks?)"


def _rank(error: KafkaError) -> int:
    return 0 if error.code() in _TELLING else 2 if error.code() in _DULL else 1


def made(make: Callable[[dict[str, Any]], T], options: dict[str, Any], where: str) -> T:
    """Make a client of Kafka.

    Parameters
    ----------
    make : callable
        Makes it of its options.
    options : dict
    where : str
        Where the options stand; see `Configuration.where`.

    Raises
    ------
    ConfigurationError
        If librdkafka does not know an option, or cannot read a file that one names.
    """
    try:
        return make(options)
    except KafkaException as error:
        raise ConfigurationError([f"{where}: kafka.options: {mask(error.args[0].str())}"]) from None
