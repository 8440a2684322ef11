#!/usr/bin/env bash
# Makes a Python environment from a hash-pinned lock, with the project itself installed editable.
#
# usage: python.sh ENVIRONMENT LOCK        for example: python.sh .venv requirements.lock
#
# Does nothing when the environment already matches the lock and pyproject.toml.
# PYTHON=… chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=$1
lock=$2
build_lock=requirements-build.lock
stamp=$environment/.matches

say() { echo "setup: $*"; }

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# A name on the PATH may be a launcher for a version that is not there, so each one is run.
find_python() {
    local name
    for name in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        if is_new_enough "$name"; then
            "$name" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    echo "setup: Python 3.11 or later is needed and none of these is one: ${PYTHON:-python3.13 python3.12 python3.11 python3}" >&2
    return 1
}

# Debian keeps the part of the standard library that makes environments in a package of its own.
need_venv_module() {
    local python=$1 version
    if "$python" -c 'import venv, ensurepip' 2>/dev/null; then return; fi
    version=$("$python" -c 'import sys; print("{}.{}".format(*sys.version_info))')
    deploy/setup/packages.sh "/usr/lib/python$version/ensurepip=python$version-venv"
}

fingerprint() { cat "$lock" "$build_lock" pyproject.toml deploy/setup/python.sh | sha256sum | cut -d ' ' -f 1; }

mkdir -p "$environment"
exec 9>"$environment/.lock"
flock 9

if [[ -f $stamp && $(<"$stamp") == "$(fingerprint)" ]] && is_new_enough "$environment/bin/python"; then
    exit 0
fi
rm -f "$stamp"

if ! is_new_enough "$environment/bin/python"; then
    python=$(find_python)
    need_venv_module "$python"
    say "making $environment with $("$python" --version)"
    "$python" -m venv "$environment"
fi

install() { "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "$@"; }

# Some dependencies come as source only; they are built with the pinned tools rather than with the newest ones.
say "installing the build tools of $build_lock"
install --require-hashes -r "$build_lock"
say "installing $(grep -c '==' "$lock") packages of $lock"
install --require-hashes --no-build-isolation -r "$lock"
say "installing driftline itself, editable"
install --no-build-isolation --no-deps --editable .
fingerprint >"$stamp"
say "$environment is ready"
