#!/usr/bin/env bash
# Makes the environment that `make sbom` and `make audit` run in, .venv-supply-chain, from its hash-pinned lock.
#
# usage: python.sh
#
# Does nothing when the environment already matches the lock. PYTHON=… chooses the interpreter; by default that of .venv.
set -euo pipefail
cd "$(dirname "$0")/../../.."

environment=.venv-supply-chain
lock=deploy/setup/supply_chain/tools.lock
stamp=$environment/.matches
wanted=$(sha256sum <"$lock" | cut -d ' ' -f 1)

mkdir -p "$environment"
exec 9>"$environment/.lock"
flock 9

if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then exit 0; fi
rm -f "$stamp"
echo "setup: installing $(grep -c '==' "$lock") packages of $lock"
"${PYTHON:-.venv/bin/python}" -m venv "$environment"
# The lock is complete; an extra that a package asks another for is not a requirement without a version.
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --no-deps -r "$lock"
echo "$wanted" >"$stamp"
