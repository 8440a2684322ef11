"""Digests for tests."""

from datetime import timedelta

from alerting.digest import CARRIED_STREAMS, Digest, DigestNotice, DriftedStream
from alerting.finding import instant

WEEK = instant(1_766_966_400_000)  # 2025-12-29, a Monday


def drifted(column="age", segment="", **changes):
    fields = {
        "model": "churn", "version": "1", "column": column, "segment": segment, "lane": "features",
        "log_evalue": 31.4, "psi": 0.214, "rows": 16_800, "windows": 168,
        "summary": f"{column}: 62 % of rows in [48.1, 61.0), reference 9.0 %",
    }  # fmt: skip
    return DriftedStream(**{**fields, **changes})


def digest(*listed, streams=240, **changes):
    fields = {
        "week": WEEK, "until": WEEK + timedelta(days=7), "is_finished": True, "level": 0.1,
        "streams": streams, "listed": listed, "listed_total": len(listed),
    }  # fmt: skip
    return Digest(**{**fields, **changes})


def notice(*listed, id_="n1"):
    """As the outbox carries it: with some of the streams only."""
    carried = digest(*listed[:CARRIED_STREAMS], listed_total=len(listed))
    return DigestNotice(id_, carried, instant(1_767_571_200_000))
