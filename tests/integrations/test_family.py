"""Nothing that a tool has started outlives it."""

from pathlib import Path

from tests.integrations.servers.family import began, descendants, end
from tests.kit.process import ServerProcess
from tests.kit.waiting import wait_for

# One child, and a grandchild in a session of its own, as schedulers start their tasks.
FAMILY = "sleep 600 & bash -c 'setsid sleep 600 & wait' & wait"


def test_children_in_sessions_of_their_own_end_too(tmp_path: Path) -> None:
    process = ServerProcess(["bash", "-c", FAMILY], tmp_path / "log")
    family = wait_for(
        lambda: found if len(found := descendants(process.pid)) == 3 else None, what="not all have started"
    )
    end(process)
    assert not process.is_running
    wait_for(lambda: all(began(pid) != at for pid, at in family), what="a child is still there")


def test_an_id_that_is_free_belongs_to_nobody(tmp_path: Path) -> None:
    process = ServerProcess(["sleep", "0"], tmp_path / "log")
    process.wait(10)
    assert began(process.pid) is None
    assert descendants(process.pid) == []
