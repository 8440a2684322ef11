#!/usr/bin/env bash
# Makes an environment for each tool that `make test-integrations` runs against, from its hash-pinned lock.
#
# usage: python.sh [TOOL…]        for example: python.sh dagster mlflow; without names, all of them
#
# They are in .venv-integrations/TOOL: their requirements fit neither each other nor ours. Does nothing for an
# environment that already matches its lock. PYTHON=… chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/../../.."

tools=("$@")
if [[ ${#tools[@]} -eq 0 ]]; then
    for lock in deploy/setup/integrations/*.lock; do tools+=("$(basename "$lock" .lock)"); done
fi

# Not every package of theirs has wheels for later versions.
is_usable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if is_usable "$name"; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo "setup: Python 3.11 to 3.13 is needed for the tools and none of these is one: ${PYTHON:-python3.11 python3.12 python3.13 python3}" >&2
    return 1
}

mkdir -p .venv-integrations
exec 9>.venv-integrations/.lock
flock 9

for tool in "${tools[@]}"; do
    lock=deploy/setup/integrations/$tool.lock
    if [[ ! -f $lock ]]; then
        echo "setup: there is no $lock" >&2
        exit 1
    fi
    environment=.venv-integrations/$tool
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
