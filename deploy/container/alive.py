"""Tells the container engine whether Driftline answers: code 0 if it does, 1 if not.

usage: alive.py [HOST:PORT]      by default 127.0.0.1:8420

`http.client` rather than `urllib`: what a container's HTTP_PROXY names is not on the way to itself.
"""

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 8.0


def problem(address: str) -> str:
    """Say what is wrong with the service at an address; empty if it is alive."""
    connection = HTTPConnection(address, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        return f"http://{address}/livez does not answer: {error}"
    finally:
        connection.close()
    return "" if status == 200 else f"http://{address}/livez answers {status}"


if __name__ == "__main__":
    sys.exit(problem(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8420") or 0)
