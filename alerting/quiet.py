"""Quiet hours: times of the week at which a route does not wake anybody."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from alerting.finding import epoch_ms, instant

TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
MOST_STRETCHES = 16


class Day(StrEnum):
    """A day of the week."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


class QuietHours(BaseModel):
    """Hours in which messages wait until they are over. From 22:00 until 07:00 reaches into the next day.

    Examples
    --------
    >>> night = QuietHours.model_validate({"from": "22:00", "until": "07:00", "zone": "Europe/Berlin"})
    >>> late = datetime.fromisoformat("2026-01-05T23:30:00+01:00")
    >>> instant(night.end_ms(epoch_ms(late))).isoformat()
    '2026-01-06T06:00:00+00:00'
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )

    start: str = Field("00:00", alias="from", pattern=TIME_PATTERN)
    """First minute, `HH:MM`."""
    until: str = Field("00:00", pattern=TIME_PATTERN)
    """First minute after them, `HH:MM`; the same as `from` is a whole day."""
    days: tuple[Day, ...] = ()
    """Days on which they begin; every day if none is named."""
    zone: str = "UTC"
    """Name of a time zone, such as `Europe/Berlin`."""

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            msg = f"'{zone[:80]}' is not a time zone (use a name such as Europe/Berlin or UTC)"
            raise ValueError(msg) from error
        return zone

    def end_ms(self, at_ms: int) -> int:
        """Say when a message that is written now may be sent.

        Parameters
        ----------
        at_ms : int
            Epoch milliseconds.

        Returns
        -------
        int
            The same instant outside of the quiet hours, otherwise their end; hours that follow one another
            without a break count as one, for up to two weeks.
        """
        for _ in range(MOST_STRETCHES):
            end_ms = self._end_of_stretch(at_ms)
            if end_ms <= at_ms:
                break
            at_ms = end_ms
        return at_ms

    def _end_of_stretch(self, at_ms: int) -> int:
        zone = ZoneInfo(self.zone)
        here = instant(at_ms).astimezone(zone)
        for back in (0, 1):
            first_day = here.date() - timedelta(days=back)
            if self.days and tuple(Day)[first_day.weekday()] not in self.days:
                continue
            last_day = first_day if self.until > self.start else first_day + timedelta(days=1)
            start = datetime.combine(first_day, time.fromisoformat(self.start), zone)
            end = datetime.combine(last_day, time.fromisoformat(self.until), zone)
            if epoch_ms(start) <= at_ms < epoch_ms(end):
                return epoch_ms(end)
        return at_ms
