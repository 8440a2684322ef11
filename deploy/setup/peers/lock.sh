#!/usr/bin/env bash
# Writes the requirement locks of the peers that `make bench-detection` compares with: versions and hashes, no addresses.
#
# usage: lock.sh [--upgrade]
#
# Versions already locked are kept unless --upgrade is given.
set -euo pipefail
cd "$(dirname "$0")"

source ../resolver.sh

compile_each "$@"
