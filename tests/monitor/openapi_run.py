"""Runs schemathesis against an application and says what broke the promises of its OpenAPI document."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi.testclient import TestClient
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.engine import events, from_schema
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext

DOCUMENT = "/api/v1/openapi.json"
# One method that an address does not know says as much as all of them.
PHASES: dict[str, dict[str, Any]] = {
    "examples": {},
    "coverage": {"unexpected-methods": ["delete"]},
    "fuzzing": {},
    "stateful": {},
}
# Refusals of what a JSON Schema cannot say is wrong: values that are well formed and do not fit each other or
# what is stored.
BEYOND_SCHEMAS = (
    "this is not a cursor of this list",
    "the range is empty",
    "the range holds more than",
    "the silence would be over already",
    "a silence lasts longer than nothing",
    "is longer than 100 years",
    "that week does not lie between the years 1 and 9999",
    "cannot be read; none was taken in",
    "(driftline reference list shows those that there are)",
    "fairness is measured for binary classifiers",
    "the address is too long",
)


@dataclass
class Report:
    """What came of a run.

    Parameters
    ----------
    answers : dict
        Statuses of the answers to each operation, by its label (``GET /api/v1/models``).
    broken : list of str
        Promises that were not kept, each with a request that shows it.
    """

    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    broken: list[str] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """Number of requests."""
        return sum(counted.total() for counted in self.answers.values())

    def take(self, finished: events.ScenarioFinished) -> None:
        """Take in what one scenario was answered."""
        recorder = finished.recorder
        for id_, interaction in recorder.interactions.items():
            if interaction.response is not None:
                label = recorder.cases[id_].value.operation.label
                self.answers[label][interaction.response.status_code] += 1
        for id_, checks in recorder.checks.items():
            case, asked = recorder.cases[id_].value, recorder.interactions.get(id_)
            answer = None if asked is None else asked.response
            said = b"" if answer is None else answer.content[:300]
            self.broken += [
                f"{one.name}: {one.failure_info.failure.title}: {one.failure_info.failure.message[:300]}\n"
                f"  {case.as_curl_command()[:500]}\n  {said!r}"
                for one in checks
                if one.failure_info is not None
            ]


def document_of(app: Any, base_url: str, headers: dict[str, str]) -> dict[str, Any]:
    """Fetch the OpenAPI document as a consumer does."""
    answer = TestClient(app, base_url=base_url).get(DOCUMENT, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def with_examples(document: dict[str, Any], examples: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Put identifiers that exist into the document, by operation: parameters by name, and `body`."""
    for methods in document["paths"].values():
        for operation in methods.values():
            known = dict(examples.get(operation["operationId"], {}))
            body = known.pop("body", None)
            if body is not None:
                operation["requestBody"]["content"]["application/json"]["example"] = body
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in known:
                    parameter["example"] = known.pop(parameter["name"])
            assert not known, (operation["operationId"], known)
    return document


def explore(
    app: Any,
    examples: dict[str, dict[str, Any]],
    *,
    phases: tuple[str, ...],
    max_examples: int,
    base_url: str = "http://127.0.0.1",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> Report:
    """Ask an application what its document says can be asked, and what it says cannot.

    Parameters
    ----------
    app : ASGI application
    examples : dict
        See `with_examples`.
    phases : tuple of str
        `examples`, `coverage`, `fuzzing`, `stateful`.
    max_examples : int
        Drawn for each operation, or sequence of operations.
    base_url : str
    headers : dict, optional
        For the document.
    options
        Further sections of schemathesis' configuration.
    """
    configuration = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "base-url": base_url,
            "continue-on-failure": True,
            "generation": {"max-examples": max_examples, "deterministic": True},
            "phases": {name: {"enabled": name in phases, **more} for name, more in PHASES.items()},
            **options,
        }
    )
    document = with_examples(document_of(app, base_url, headers or {}), examples)
    schema = schemathesis.openapi.from_dict(document, config=configuration)
    schema.app = app

    @schema.hook
    def filter_failure(_context: HookContext, failure: Failure, _case: Case, response: Response) -> bool:
        text = response.content.decode()
        if type(failure).__name__ == "AcceptedNegativeData" and response.status_code == 414:
            return False  # refused for its length, before anything else is looked at
        is_acceptance = type(failure).__name__ == "RejectedPositiveData"
        return not (is_acceptance and any(reason in text for reason in BEYOND_SCHEMAS))

    report = Report()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            report.take(event)
        elif isinstance(event, events.NonFatalError):
            report.broken.append(f"{event.label}: {event.info.title}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    return report
