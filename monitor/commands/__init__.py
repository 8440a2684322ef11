"""One file a command; `monitor.cli` finds them by walking this package.

A file ``explain_event.py`` that defines ``command`` is the command ``driftline explain-event``.

A command may return its exit code: nothing or 0 for fine, 1 for findings. Errors of `schemas.errors` become 2
or 3.
"""
