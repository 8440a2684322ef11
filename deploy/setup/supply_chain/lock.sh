#!/usr/bin/env bash
# Writes the requirement lock of the tools that `make sbom` and `make audit` run: versions and hashes, no addresses.
#
# usage: lock.sh [--upgrade]
#
# Versions already locked are kept unless --upgrade is given; those in tools.in are changed by hand.
set -euo pipefail
cd "$(dirname "$0")"

uv_version=0.13.8

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
echo "lock: making a throw-away environment for the resolver"
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check "uv==$uv_version"

echo "lock: deploy/setup/supply_chain/tools.lock"
"$tools/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --fork-strategy fewest \
    --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
    "$@" tools.in --output-file tools.lock
