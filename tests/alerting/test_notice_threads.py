"""Several threads may be the first to read a notice, as the deliverer's are when a service has just begun."""

import subprocess
import sys

# In a process of its own, where nobody has met the type before; threads take turns as often as they can.
FIRST_READERS = """
import sys, threading
from alerting.notice import decode, encode
from alerting.trial import trial_notice

written = encode(trial_notice("anyone", 1_767_225_600_000, "https://driftline.example.org"))
sys.setswitchinterval(1e-6)
together = threading.Barrier(4)

def read():
    together.wait()
    assert decode(written).id

threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_the_first_to_read_a_notice_may_be_several_threads():
    for _ in range(6):
        done = subprocess.run(
            [sys.executable, "-c", FIRST_READERS], capture_output=True, text=True, timeout=240, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
