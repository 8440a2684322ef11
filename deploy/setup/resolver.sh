# To be sourced: makes the resolver in a throw-away environment.
#
# compile ARGS...         locks what ARGS name, for every platform: versions and hashes, no addresses
# compile_each ARGS...    locks every FILE.in of this folder as FILE.lock

uv_version=0.13.8

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
echo "lock: making a throw-away environment for the resolver"
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check "uv==$uv_version"

# One version a package for all supported Pythons; 3.11 is the oldest of them.
compile() {
    "$tools/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --fork-strategy fewest \
        --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links "$@"
}

compile_each() {
    local wanted
    for wanted in *.in; do
        echo "lock: ${wanted%.in}.lock"
        compile "$@" "$wanted" --output-file "${wanted%.in}.lock"
    done
}
