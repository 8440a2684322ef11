"""Asks Kafka whether the Faust app may join its group: Faust itself waits without a word, and for ever."""

from __future__ import annotations

from typing import Any

from aiokafka.errors import GroupAuthorizationFailedError  # type: ignore[import-untyped]
from confluent_kafka.admin import AdminClient

from monitor.config import Configuration
from monitor.kafka_reasons import made
from monitor.reachable_kafka import group_problem


class GroupRight:
    """The right to read as a member of a group.

    Parameters
    ----------
    configuration : Configuration
    group : str
    """

    def __init__(self, configuration: Configuration, group: str) -> None:
        self._configuration, self._group = configuration, group
        self._client: AdminClient | None = None

    def need(self) -> None:
        """Ask the brokers; one that does not answer, or knows nothing of rights, is no reason to give up.

        Raises
        ------
        GroupAuthorizationFailedError
            If the user of the configuration may not join.
        ConfigurationError
            If librdkafka does not know an option.
        """
        if (
            str(self._configuration.kafka.options.get("security.protocol", "plaintext")).lower()
            == "plaintext"
        ):
            return  # nobody in particular, to whom nothing is allowed or forbidden
        if self._client is None:
            options: dict[str, Any] = {"log_level": 0, **self._configuration.kafka.client_options()}
            self._client = made(AdminClient, options, self._configuration.where("kafka", "options"))
        if problem := group_problem(self._client, self._group):
            msg = f"group {self._group}: {problem}"
            raise GroupAuthorizationFailedError(msg)
