#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `sluice program` as people call it: exit codes, output, help. Argument: the binary. Programs come
# from SLUICE_GOLDENS, or ../shared/goldens beside the source; without any, the test is skipped (77).
set -u
sluice=$1
source_root=$(cd "$(dirname "$0")/../.." && pwd)
goldens=${SLUICE_GOLDENS:-${SLUICE_SHARED:-$source_root/../shared}/goldens}
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
failed=0

# expect CODE TEXT ARGUMENT...: exit code, and a text somewhere in what is printed
expect() {
    local code=$1 text=$2 out got
    shift 2
    out=$("$sluice" "$@" 2>&1)
    got=$?
    if [ $got -ne "$code" ] || [[ $out != *"$text"* ]]; then
        printf 'sluice %s: exit code %s (not %s), printed:\n%s\nexpected: %s\n' "$*" $got "$code" \
            "$out" "$text"
        failed=1
    fi
}

expect 2 'usage: sluice COMMAND'
expect 0 'program show' --help
expect 0 'sluice ' --version
expect 0 'program diff' program --help
expect 2 'there is no command `program shw`' program shw
expect 2 'there is no command `prgram`' prgram show x
for command in show check copy diff; do
    expect 0 "sluice program $command" program $command --help
    expect 2 'expected' program $command
    expect 2 'unknown option --all' program $command --all
    expect 2 'one argument too many' program $command a b c
done
expect 1 "$work/none" program show "$work/none"
printf 'junk' >"$work/junk.pb"
expect 1 'not a whole ProgramDesc' program check "$work/junk.pb"
expect 2 "$work/none" program diff "$work/none" "$work/junk.pb"

a=$goldens/digits_sgd/main.pb b=$goldens/digits_adam/main.pb
if [ ! -f "$a" ] || [ ! -f "$b" ]; then
    [ -z "${CI:-}" ] || failed=1
    echo "skipped: no $a; set SLUICE_GOLDENS"
    [ $failed -eq 0 ] && exit 77
    exit 1
fi
expect 0 'op 0 mul' program show "$a"
expect 0 'equal' program diff "$a" "$a"
expect 1 'block 0, op 19, sgd' program diff "$a" "$b"
expect 0 'all supported' program check "$a"
expect 0 '' program copy "$a" "$work/copy.pb"
cmp "$a" "$work/copy.pb" || failed=1
expect 1 "$work/none" program copy "$a" "$work/none/copy.pb"

# An operator that nobody has: the same bytes under another name of the same length.
LC_ALL=C sed 's/relu/rleu/g' "$a" >"$work/missing.pb"
expect 1 'block 0 op 2 `rleu`' program check "$work/missing.pb"
expect 1 'rleu_grad' program check "$work/missing.pb"
exit $failed
