#!/usr/bin/env bash
# Runs a command on a bare Debian 12: a debootstrap root with nothing but the minimal base, this checkout cloned into it.
#
#   tools/bare.sh ROOT COMMAND...      ROOT is made when it does not exist; needs root and debootstrap
#   tools/bare.sh --remove ROOT        unmounts and removes it
#
# CCACHE_DIR, when set, is lent to it as its compiler cache: what is tried is the path, not the patience.
#
# The mounts are those that a build and kernel tests need: /proc, /sys (recursively: cgroups, BTF, bpf), /dev, and tmpfs on /tmp and /run.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

unmount_all() {
    local root=$1
    awk -v r="$root/" 'index($2, r) == 1 {print $2}' /proc/mounts | sort -r | while read -r point; do umount -l "$point"; done
}

if [ "${1:-}" = --remove ]; then
    unmount_all "$(realpath "$2")"
    umount -l "$2" 2>/dev/null || true
    rm -rf --one-file-system "$2"
    exit 0
fi
[ $# -ge 2 ] || { sed -n '2,8p' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "bare.sh needs root: it makes and enters a root file system" >&2; exit 1; }
mkdir -p "$1"
root=$(realpath "$1")
shift

if [ ! -e "$root/etc/debian_version" ]; then
    mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
    debootstrap --variant=minbase bookworm "$root" "${mirror:-http://deb.debian.org/debian}" >"$root.log" 2>&1 || { tail "$root.log" >&2; exit 1; }
fi
# The machine's own way to the packages: sources, keys, proxy settings and name resolution.
cp /etc/resolv.conf "$root/etc/resolv.conf"
rm -f "$root/etc/apt/sources.list"
cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/"
for file in /etc/apt/apt.conf.d/*; do
    if grep -qi -e proxy -e certificate -e verify "$file"; then cp "$file" "$root/etc/apt/apt.conf.d/"; fi
done
# And whom it trusts: a machine behind a proxy with an authority of its own says so here.
mkdir -p "$root/etc/ssl/certs"
[ -e "$root/etc/ssl/certs/ca-certificates.crt" ] || cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" 2>/dev/null || true
# The root is a mount of its own, as a machine's is: ip netns exec changes the propagation of /.
mountpoint -q "$root" || mount --bind "$root" "$root"
mountpoint -q "$root/proc" || {
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --make-rslave "$root/sys"
    mount --rbind /dev "$root/dev"
    mount --make-rslave "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs tmpfs "$root/run"
}
cache=()
if [ -n "${CCACHE_DIR:-}" ]; then
    mkdir -p "$root/root/.ccache"
    mountpoint -q "$root/root/.ccache" || mount --bind "$CCACHE_DIR" "$root/root/.ccache"
    # Paths below the checkout count as relative ones, as they do where the cache was filled.
    cache=(CCACHE_DIR=/root/.ccache CCACHE_BASEDIR=/warren)
fi
# A clean clone: what is not committed is not there. A bare machine has no git, so it is cloned from outside.
rm -rf "$root/warren"
git clone -q "$here" "$root/warren"
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb \
    ${PIP_CERT:+PIP_CERT="$PIP_CERT"} ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} ${CI:+CI="$CI"} "${cache[@]}" \
    sh -c 'cd /warren && exec "$@"' sh "$@"
