#!/usr/bin/env bash
# Makes an environment for each peer that `make bench-detection` compares with, from its hash-pinned lock.
#
# usage: python.sh [PEER…]        for example: python.sh river nannyml; without names, all of them
#
# They are in .venv-peers/PEER. Does nothing for an environment that already matches its lock. alibi-detect needs
# Python 3.11 or 3.12, so PYTHON=… is python3.11 unless it is given.
set -euo pipefail
cd "$(dirname "$0")/../../.."

peers=("$@")
if [[ ${#peers[@]} -eq 0 ]]; then
    for lock in deploy/setup/peers/*.lock; do peers+=("$(basename "$lock" .lock)"); done
fi

is_usable() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3}; do
        if is_usable "$name"; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo "setup: Python 3.11 or 3.12 is needed for the peers and none of these is one: ${PYTHON:-python3.11 python3.12 python3}" >&2
    return 1
}

for peer in "${peers[@]}"; do
    lock=deploy/setup/peers/$peer.lock
    environment=.venv-peers/$peer
    stamp=$environment/.matches
    wanted=$(sha256sum <"$lock" | cut -d ' ' -f 1)
    if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then continue; fi
    rm -f "$stamp"
    echo "setup: installing $(grep -c '==' "$lock") packages of $lock"
    python=$(find_python)
    "$python" -m venv --clear "$environment"
    # The lock is complete; an extra that a package asks another for is not a requirement without a version.
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --no-deps -r "$lock"
    echo "$wanted" >"$stamp"
done
