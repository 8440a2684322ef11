#!/usr/bin/env bash
# Writes the requirement locks of the tools that `make test-integrations` runs against: versions and hashes, no addresses.
#
# usage: lock.sh [--upgrade]
#
# Versions already locked are kept unless --upgrade is given; those in the .in files are changed by hand.
set -euo pipefail
cd "$(dirname "$0")"

source ../resolver.sh

compile_each "$@"
