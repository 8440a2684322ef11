"""Settings of the Python interpreter for a process in which threads pass large arrays to each other."""

from __future__ import annotations

import gc
import sys

SWITCH_INTERVAL_S = 0.001
COLLECT_AFTER = (100_000, 20, 10)


def tune() -> None:
    """Apply the settings; they hold for the whole process.

    Notes
    -----
    A worker gives the interpreter's lock up in every call of Arrow or numpy. With the default of 5 ms it then
    waits that long for the thread that decodes envelopes, hundreds of times a batch: a processor stays idle.

    Thousands of messages come and go in every fetch and none of them is in a cycle. With the default
    thresholds the collector looks through them a dozen times a fetch, which costs a tenth of the throughput.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*COLLECT_AFTER)
