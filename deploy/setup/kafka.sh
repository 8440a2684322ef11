#!/usr/bin/env bash
# Fetches Kafka's jars with Maven into a cache folder that all checkouts share.
#
# The version in the folder's name is the one of kafka-pom.xml; tests/kit/kafka.py looks there too.
set -euo pipefail
cd "$(dirname "$0")"

version=$(sed -n 's|.*<kafka.version>\(.*\)</kafka.version>.*|\1|p' kafka-pom.xml)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/driftline
target=$cache/kafka-$version

[[ -d $target ]] && exit 0

mkdir -p "$cache"
work=$(mktemp -d "$cache/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp kafka-pom.xml "$work/pom.xml"

echo "setup: fetching Kafka $version with Maven"
if ! (cd "$work" && mvn --batch-mode --quiet --strict-checksums \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime "-DoutputDirectory=$work/jars" </dev/null); then
    echo "setup: Maven could not fetch Kafka $version (its message is above)" >&2
    exit 1
fi
# A rename is atomic: the folder is complete whenever it is there. If another run was quicker, its copy is as good.
mv -T "$work/jars" "$target" 2>/dev/null || [[ -d $target ]]
