"""Problems of certificates that the configuration names: over, or over soon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509

from monitor.attention.problem import Problem
from monitor.attention.taking_in import DAY_MS
from monitor.config import Configuration
from monitor.config.values import write_instant
from monitor.store.engine import read_url

SOON_DAYS = 21
URGENT_DAYS = 3


def running_out(configuration: Configuration, now_ms: int) -> Iterator[Problem]:
    """Certificates whose time is over, or nearly so.

    Files that cannot be read are not told of here; `monitor.reachable` finds them.
    """
    for key, file in _files(configuration):
        ends_ms = _ends_ms(file)
        if ends_ms is None or ends_ms > now_ms + SOON_DAYS * DAY_MS:
            continue
        is_over = ends_ms <= now_ms
        ends = f"{'is over since' if is_over else 'ends'} {write_instant(ends_ms)}"
        what = f"the certificate of {key} ({file}) {ends}"
        is_urgent = ends_ms <= now_ms + URGENT_DAYS * DAY_MS
        do = "put a new one in its place, and restart the processes one by one: they read it when they start"
        yield Problem("DriftlineCertificateEnds", "page" if is_urgent else "warn", what, do)


def _files(configuration: Configuration) -> list[tuple[str, Path]]:
    """Every file of certificates that the configuration names, once, and under which key."""
    found = dict(_named(configuration.model_dump(mode="python"), ""))
    options = configuration.kafka.options
    for key in ("ssl.certificate.location", "ssl.ca.location"):
        if key in options:
            found[f"kafka.options.{key}"] = str(options[key])
    query = read_url(configuration.database()).query
    for key in ("sslcert", "sslrootcert"):
        if isinstance(value := query.get(key), str) and value != "system":
            found[f"{key} of the database"] = value
    by_file = {file: key for key, file in sorted(found.items(), reverse=True)}
    return [(key, Path(file)) for file, key in sorted(by_file.items())]


def _named(value: Any, at: str) -> Iterator[tuple[str, str]]:
    """Values of ``ca_file`` in a document, and where they stand."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            where = f"{at}.{key}" if at else str(key)
            if key == "ca_file" and isinstance(below, str):
                yield where, below
            else:
                yield from _named(below, where)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for number, below in enumerate(value):
            yield from _named(below, f"{at}[{number}]")


def _ends_ms(file: Path) -> int | None:
    """When the own certificate ends, which is the first, or the last one of a bundle of authorities.

    Some authorities of a bundle are always over; it serves as long as one is not. None if there is nothing to
    read.
    """
    try:
        every = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return None
    ends_ms = [int(one.not_valid_after_utc.timestamp() * 1_000) for one in every]
    return max(ends_ms) if _is_authority(every[0]) else ends_ms[0]


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.issuer == certificate.subject
