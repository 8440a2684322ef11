"""Free ports on loopback."""

import random
import socket
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"

# Below the range from which Linux takes the ports of outgoing connections: a server that is killed finds its
# port still free when it comes back.
_SERVER_PORTS = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Find ports on which nothing listens; each is held until the last one is found, so they differ."""
    held: list[socket.socket] = []
    try:
        for port in _candidates():
            candidate = socket.socket()
            try:
                candidate.bind((LOOPBACK, port))
            except OSError:
                candidate.close()
                continue
            held.append(candidate)
            if len(held) == count:
                return [listener.getsockname()[1] for listener in held]
    finally:
        for listener in held:
            listener.close()
    msg = f"fewer than {count} free ports on {LOOPBACK}"
    raise RuntimeError(msg)


def free_port() -> int:
    """Find one port on which nothing listens."""
    return free_ports(1)[0]


def _candidates() -> Iterator[int]:
    # Two test runs on one machine should not try the same ports in the same order.
    return iter(random.SystemRandom().sample(_SERVER_PORTS, len(_SERVER_PORTS)))
