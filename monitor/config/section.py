"""What every part of the configuration has in common, and how a part reports several problems at once."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from monitor.config.problem import Path

Finding = tuple[Path, str]
"""A place, relative to the part that reports it, and what is wrong there."""

FINDINGS = "findings"


class Section(BaseModel):
    """A part of the configuration: frozen, unknown keys refused, keys as in the file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        serialize_by_alias=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


def report(findings: Sequence[Finding]) -> None:
    """Raise all findings of a validator as one pydantic error; `monitor.config.messages` takes it apart.

    Raises
    ------
    PydanticCustomError
        Unless there are no findings.
    """
    if findings:
        summary = "; ".join(message for _, message in findings)
        raise PydanticCustomError(FINDINGS, "{summary}", {"summary": summary, FINDINGS: list(findings)})
