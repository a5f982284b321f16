#!/bin/bash
# Runs the tests of a profile: run-tests.sh PROFILE "SERVER…" [argument of nextest]…
# The test runner cannot skip a test while it runs. So the servers that the profile's scenarios need are fetched beforehand; the
# scenarios of one that cannot be had are left out, and named at the very end, so that nobody takes them for passed.
set -euo pipefail

profile=$1 servers=$2
shift 2
lab=target/debug/mmm_lab

# A disk that stands still for a second now and then, as one does that trims what was deleted, holds up every synced write of every
# server and daemon in the lab. Where there is enough memory for it, labs are kept there.
memory=/dev/shm
free_mb=$(df --output=avail -B 1M "$memory" 2>/dev/null | tail -n 1 | tr -d ' ')
if [ -z "${MMM_LAB_DIR:-}" ] && [ "${free_mb:-0}" -ge 6000 ]; then
    export MMM_LAB_DIR=$memory/mmm-lab
fi

list=$(mktemp)
trap 'rm -f "$list"' EXIT
# shellcheck disable=SC2086 # a list of words
"$lab" servers $servers >"$list"
sed 's/^/server: /' "$list"

left_out="none()"
while read -r server state _; do
    if [ "$state" = UNAVAILABLE ]; then
        left_out="$left_out | test(/$(tr '.-' '__' <<<"$server")_/)"
    fi
done <"$list"

status=0
cargo nextest run --workspace --locked --profile "$profile" -E "not ($left_out)" "$@" || status=$?

# What is said to a server is tried on each kind of server, not only on the system's.
if [ "$profile" = full ]; then
    while read -r server state _; do
        [ "$state" != UNAVAILABLE ] || continue
        echo "statements on $server"
        MMM_TEST_SERVER=$server cargo nextest run --locked --profile full -p mmm-mysql --test real "$@" </dev/null || status=$?
    done <"$list"
fi

if [ "$left_out" != "none()" ]; then
    sed -n 's/^\([^ ]*\) UNAVAILABLE \(.*\)/SKIPPED: no server \1: \2/p' "$list"
    cargo nextest list --workspace --locked --profile "$profile" -E "$left_out" --message-format oneline 2>/dev/null |
        sed 's/^/SKIPPED: /'
fi
exit "$status"
