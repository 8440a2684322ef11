"""Free ports on loopback."""

import random
import socket
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"

# Below the range from which Linux takes the ports of outgoing connections: a server that is killed finds its
# port still free when it comes back.
_SERVER_PORTS = range(20_000, 32_000)

# One for each port that was given out, as long as this process lives.
_claims: list[socket.socket] = []


def free_ports(count: int) -> list[int]:
    """Find ports on which nothing listens, and which no other test run is given while this one lives.

    A server takes its port seconds later, and again after it was killed.
    """
    found: list[int] = []
    for port in _candidates():
        if _is_free(port) and _claim(port):
            found.append(port)
            if len(found) == count:
                return found
    msg = f"fewer than {count} free ports on {LOOPBACK}"
    raise RuntimeError(msg)


def free_port() -> int:
    """Find one port on which nothing listens."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        try:
            candidate.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _claim(port: int) -> bool:
    """Bind a name in Linux's abstract namespace: only one process can, and it is gone with that process."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0driftline-tests-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def _candidates() -> Iterator[int]:
    # Two test runs on one machine should not try the same ports in the same order.
    return iter(random.SystemRandom().sample(_SERVER_PORTS, len(_SERVER_PORTS)))
