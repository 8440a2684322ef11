#!/usr/bin/env bash
# Writes the requirement lock of the tools that `make sbom` and `make audit` run: versions and hashes, no addresses.
#
# usage: lock.sh [--upgrade]
#
# Versions already locked are kept unless --upgrade is given; those in tools.in are changed by hand.
set -euo pipefail
cd "$(dirname "$0")"

source ../resolver.sh

compile_each "$@"
