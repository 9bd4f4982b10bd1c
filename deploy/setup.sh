#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing, and none that are there:
#   bash deploy/setup.sh            to build and to run
#   bash deploy/setup.sh test       these, and what the tests need besides
#   bash deploy/setup.sh list [test]   prints the names only
# As root or through sudo; without either it says what is missing and exits 1.
set -u

# The one list. pkg-config finds the libraries; quickstart.sh and tests/run.sh call this script.
build_packages=(gcc libc6-dev meson ninja-build pkg-config libuv1-dev libprotobuf-c-dev
    protobuf-c-compiler protobuf-compiler libopenblas-dev libopenblas0-pthread libxxhash-dev
    libssl-dev libinih-dev uthash-dev libjansson-dev zlib1g-dev libzip-dev libcmocka-dev python3
    dataset-fashion-mnist)
test_packages=(python3-pytest valgrind xz-utils procps)

wanted=("${build_packages[@]}")
mode=${1:-build}
[ "$mode" = list ] && part=${2:-build} || part=$mode
case $part in
    build) ;;
    test) wanted+=("${test_packages[@]}") ;;
    *) echo "usage: bash deploy/setup.sh [list] [build|test]" >&2; exit 2 ;;
esac
if [ "$mode" = list ]; then
    printf '%s\n' "${wanted[@]}"
    exit 0
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "setup: this is no Debian; install what these packages hold: ${wanted[*]}" >&2
    exit 1
fi
missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)
    [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi

run=()
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        run=(sudo)
    else
        echo "setup: these packages are missing, and installing them needs root:" >&2
        echo "    apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 1
    fi
fi
echo "setup: installing ${missing[*]}"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
apt() {
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1
}
if ! apt update; then
    tail -n 5 "$log" >&2
    echo "setup: apt-get update failed; going on with the lists that are there" >&2
fi
if ! apt install --no-install-recommends "${missing[@]}"; then
    tail -n 20 "$log" >&2
    echo "setup: could not install: ${missing[*]}" >&2
    exit 1
fi
