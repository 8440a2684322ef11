#!/usr/bin/env bash
# Makes the passwords that compose.yaml asks for, in deploy/compose/secrets/. Those that are there stay as they are.
#
# usage: secrets.sh [FOLDER]
#
# Only the owner can enter the folder. The files in it can be read by everybody, as they are mounted into containers as
# they are, and each container has an account of its own.
set -euo pipefail
cd "$(dirname "$0")"

folder=${1:-secrets}
mkdir -p "$folder"
chmod 700 "$folder"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# A file is there with all its content or not at all.
keep() {
    local path=$folder/$1
    if [[ -s $path ]]; then return; fi
    printf '%s\n' "$2" >"$path.new"
    chmod 444 "$path.new"
    mv -f "$path.new" "$path"
    echo "secrets: made $path"
}

keep postgres_password "$(random)"
keep database_url "postgresql+psycopg://driftline:$(<"$folder/postgres_password")@postgres:5432/driftline"
keep events_token "$(random)"
keep grafana_password "$(random)"
