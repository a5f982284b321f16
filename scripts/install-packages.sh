#!/bin/sh
# Installs the Debian packages that the lab, the tests and the demo need. Prints nothing when none is missing.
# Installing a server package must not leave a server of the system running: for the time of the installation
# /usr/sbin/policy-rc.d answers 101 ("do not start"); what was there before is put back, whatever happens.
set -eu

packages="mariadb-server mariadb-client mariadb-backup iproute2 nftables iputils-ping tcpdump util-linux procps gcc libc6-dev make faketime patchelf openssl e2fsprogs strace"

fail() {
    echo "install-packages: $1" >&2
    exit 1
}

policy=/usr/sbin/policy-rc.d
saved=$policy.before-install-packages
mark="put here by install-packages.sh for the time of an installation"

ours() { grep -qsF "$mark" "$policy"; }
restore() {
    if [ -e "$saved" ] || [ -L "$saved" ]; then
        mv -f "$saved" "$policy"
    elif ours; then
        rm -f "$policy"
    fi
}

missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=none
    [ "$status" = installed ] || missing="$missing $package"
done
missing=${missing# }
# Our own policy is still there when an earlier run was killed, or when another one is at work.
if [ -z "$missing" ]; then
    ours && [ "$(id -u)" = 0 ] || exit 0
fi

command -v apt-get >/dev/null 2>&1 ||
    fail "these packages are missing and this is no Debian system (no apt-get): $missing"
[ "$(id -u)" = 0 ] ||
    fail "these packages are missing: $missing
hint: run this script as root, or: sudo apt-get install -y --no-install-recommends $missing"

# One run at a time, so that one does not take what the other has put there for what was there before.
mkdir -p /run/lock
exec 9>/run/lock/install-packages.lock
flock 9
restore
[ -n "$missing" ] || exit 0

echo "installing $missing"
log=$(mktemp)
trap 'restore; rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
if [ -e "$policy" ] || [ -L "$policy" ]; then
    mv "$policy" "$saved"
fi
printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"

# Another apt may be at work: wait for it up to ten minutes.
apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 "$@" >"$log" 2>&1 </dev/null 9>&-
}
install() {
    # shellcheck disable=SC2086 # the list is meant to be split into words
    apt install --no-install-recommends $missing
}
# The lists have a lock of their own, for which apt does not wait.
update() {
    tries=0
    until apt update; do
        tries=$((tries + 1))
        grep -q 'Could not get lock' "$log" && [ "$tries" -lt 120 ] || return 1
        sleep 5
    done
}
# The lists may be missing, or older than what the mirror still holds: ask for new ones only then.
if ! install; then
    update || { cat "$log" >&2; fail "apt-get update failed (its output is above); check the network and /etc/apt/sources.list"; }
    install || { cat "$log" >&2; fail "apt-get could not install: $missing (its output is above)"; }
fi
