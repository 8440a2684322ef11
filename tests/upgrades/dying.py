"""``python -m tests.upgrades.dying TEXT ARGUMENTS…``: killed at a statement with a text."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from sqlalchemy import Engine, event

from monitor.cli import run


def main(fragment: str, arguments: list[str]) -> int:
    """Run the command line; kill -9 this process right before it would send such a statement."""

    def die(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if fragment in statement:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", die)
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
