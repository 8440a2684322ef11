#!/usr/bin/env bash
# Installs Debian packages whose programs are missing; does nothing when all are there.
#
# usage: packages.sh PROGRAM=PACKAGE…      for example: packages.sh java=default-jre-headless mvn=maven
#
# PROGRAM is a command, or a path that begins with a slash. Needs root or sudo only when something is missing.
set -euo pipefail

# PostgreSQL's server programs lie outside the PATH on Debian.
is_there() {
    case $1 in
        /*) [[ -e $1 ]] ;;
        *) command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null ;;
    esac
}

missing=()
for pair in "$@"; do
    is_there "${pair%%=*}" || missing+=("${pair#*=}")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

give_up() {
    echo "setup: $1; please install these packages (or their like) and try again: ${missing[*]}" >&2
    exit 1
}

command -v apt-get >/dev/null || give_up "there is no apt-get here"
as_root=(env DEBIAN_FRONTEND=noninteractive)
if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || give_up "neither root nor sudo"
    as_root=(sudo "${as_root[@]}")
fi

# A fresh machine may still be updating itself: wait for its lock.
apt_get() { "${as_root[@]}" apt-get --quiet --quiet -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
install() { apt_get install --yes --no-install-recommends "${missing[@]}"; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT

echo "setup: installing Debian packages: ${missing[*]}"
# The lists of a fresh machine are empty and those of an old one are stale: fetch them only when needed.
if ! install >"$log" 2>&1; then
    echo "setup: fetching Debian's package lists"
    apt_get update >>"$log" 2>&1 || { cat "$log" >&2; give_up "apt-get update failed"; }
    install >>"$log" 2>&1 || { cat "$log" >&2; give_up "apt-get install failed"; }
fi

for pair in "$@"; do
    is_there "${pair%%=*}" || give_up "${pair%%=*} is still missing after its package ${pair#*=} was installed"
done
