#!/usr/bin/env bash
# Builds the image with the container engine of this machine, docker or podman.
#
# usage: build.sh [ARGUMENT…]      for example: build.sh --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:…
#
# The image is named driftline:VERSION and driftline:local. ENGINE=… chooses the engine.
set -euo pipefail
cd "$(dirname "$0")/../.."

answers() { command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1; }

find_engine() {
    local name
    for name in ${ENGINE:-docker podman}; do
        if answers "$name"; then
            echo "$name"
            return
        fi
    done
    echo "image: no container engine answers here (tried: ${ENGINE:-docker podman}); start one, or install one of them" >&2
    return 1
}

engine=$(find_engine)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
# Outside a repository, as in an unpacked archive, the commit is not known.
revision=$(git rev-parse HEAD 2>/dev/null || true)
epoch=$(git log -1 --format=%ct 2>/dev/null || true)
epoch=${SOURCE_DATE_EPOCH:-${epoch:-$(date +%s)}}
if [[ -n $revision && -n $(git status --porcelain) ]]; then revision+=-dirty; fi

"$engine" build \
    --file deploy/container/Dockerfile \
    --build-arg "REVISION=$revision" \
    --build-arg "SOURCE_DATE_EPOCH=$epoch" \
    --build-arg "CREATED=$(date --utc --date="@$epoch" +%Y-%m-%dT%H:%M:%SZ)" \
    --tag "driftline:$version" \
    --tag driftline:local \
    "$@" .
echo "image: driftline:$version and driftline:local, of ${revision:-an unknown revision}"
