"""Delivers what waits in a database until it is killed."""

import random
import sys
import threading

from pydantic import TypeAdapter

from alerting.notifiers.catalog import CATALOG, build
from monitor.clock import SystemClock
from monitor.deliver import Deliverer
from monitor.store import engine as engines


def main(url: str, hook: str, secret: str) -> None:
    """Run one deliverer."""
    entry = {"type": "webhook", "url": hook, "secret_env": "S", "allow_private": True}
    options = TypeAdapter(CATALOG.options).validate_python(entry)
    clock = SystemClock()
    notifier = build("hook", options, {"S": secret}, clock.now_ms)
    Deliverer(engines.create(url), {"hook": notifier}, clock, random.Random()).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
