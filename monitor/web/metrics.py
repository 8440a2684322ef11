"""``/metrics``: what this process counted, and (web role) what the database knows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from monitor.clock import Clock
from monitor.web.gauges import Gauges, Snapshot, families
from schemas.errors import DriftlineError

logger = logging.getLogger(__name__)

FRESH_S = 5.0
PATIENCE_S = 3.0  # well below the usual scrape timeout of 10 s
STALE_S = 60.0


class StateCollector(Collector):
    """Serves snapshots of the database to scrapes, never older than a minute and never slower than 3 s.

    Parameters
    ----------
    gauges : Gauges
    clock : Clock

    Guarantees
    ----------
    However often it is scraped, the database is read at most every 5 s, by one thread.
    """

    def __init__(self, gauges: Gauges, clock: Clock) -> None:
        self._gauges, self._clock = gauges, clock
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "gauges")
        self._reading: Future[Snapshot | None] | None = None
        self._begun_at = self._read_at = -STALE_S
        self._snapshot: Snapshot | None = None

    def collect(self) -> Iterator[Metric]:
        """Metric families for one scrape."""
        yield from families(self._current())

    def close(self) -> None:
        """Let the thread end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _current(self) -> Snapshot | None:
        with self._lock:
            if self._reading is None and self._clock.monotonic() - self._begun_at >= FRESH_S:
                self._begun_at = self._clock.monotonic()
                self._reading = self._pool.submit(self._read)
            reading = self._reading
        if reading is not None:
            try:
                self._take(reading, reading.result(PATIENCE_S))
            except NotYet:
                logger.warning("the database takes more than %g s to tell its gauges", PATIENCE_S)
        with self._lock:
            age_s = self._clock.monotonic() - self._read_at
            return self._snapshot if age_s < STALE_S else None

    def _take(self, reading: Future[Snapshot | None], snapshot: Snapshot | None) -> None:
        with self._lock:
            if self._reading is reading:
                self._reading, self._snapshot, self._read_at = None, snapshot, self._begun_at

    def _read(self) -> Snapshot | None:
        try:
            return self._gauges.read()
        except DriftlineError as error:
            logger.warning("gauges are left out: %s", error)
        except Exception:  # what the process itself counted must still be told
            logger.exception("gauges are left out")
        return None


def exposition(registries: list[Collector | CollectorRegistry], accept: str) -> tuple[bytes, str]:
    """Write the metrics of several sources in the format that a scraper prefers.

    Returns
    -------
    text : bytes
    media_type : str
    """
    together = CollectorRegistry(auto_describe=False)
    together.register(_Together(registries))
    encode, media_type = choose_encoder(accept)
    return encode(together), media_type


class _Together(Collector):
    """Several sources as one, since OpenMetrics ends with a mark."""

    def __init__(self, sources: list[Collector | CollectorRegistry]) -> None:
        self._sources = sources

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        for source in self._sources:
            yield from source.collect()
