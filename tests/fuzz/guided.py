"""Coverage-guided search in one process of its own; needs atheris, see `tests.fuzz.run`.

``python -m tests.fuzz.guided TARGET SECONDS FOLDER``
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.fuzz.target import LONGEST_INPUT

INSTRUMENTED = ["monitor", "schemas", "detectors", "fastavro"]
MEMORY_MIB = 3_072
SLOWEST_S = 30  # wall time: the machine may be busy; `Target.try_` looks at processor time
OWN_CHANGES = 0.6  # the rest are libFuzzer's


def main() -> None:
    """Search until the time is over, or until an input breaks a promise; it is then kept in the folder."""
    import atheris

    name, seconds, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.catalog import targets

        target = targets()[name]
        for seed in target.seeds:
            target.try_(seed)  # some modules are imported when they are needed first
    from tests.fuzz.mutation import mutated

    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for at, seed in enumerate(target.seeds):
        (corpus / f"seed-{at}").write_bytes(seed)

    def change(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < OWN_CHANGES:
            return mutated(data, target, rng)[:most]
        found: bytes = atheris.Mutate(data, most)
        return found

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-timeout={SLOWEST_S}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-len_control=0",
        "-seed=1",
    ]
    atheris.Setup([name, *options, str(corpus)], target.try_, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
