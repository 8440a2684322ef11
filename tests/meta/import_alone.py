"""Imports each of the given modules as the first one of the project, and fails if one needs another order.

Forks once a module, with the libraries of others loaded before, so that it is quick and no module sees
another's imports: a circle of imports shows, whichever module a user begins with.
"""

import importlib
import os
import sys
import traceback

from tests.meta.project import PACKAGES, foreign_modules


def imports_alone(module: str) -> bool:
    """Import a module in a child process, and tell whether it went well."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            importlib.import_module(module)
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            # Without the parent's clean-up: the child is a copy that only lived for one import.
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


if __name__ == "__main__":
    for library in foreign_modules(*PACKAGES):
        importlib.import_module(library)
    failed = [module for module in sys.argv[1:] if not imports_alone(module)]
    sys.exit(f"cannot be imported first: {', '.join(failed)}" if failed else 0)
