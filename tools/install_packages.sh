#!/usr/bin/env bash
# Installs the Debian packages of tools/packages.txt that are missing. Quick when none is. Needs root only when it installs.
#
#   tools/install_packages.sh            all of them
#   tools/install_packages.sh --build    those that a build takes, none of the tests'
#
# Servers among them are for tests and the lab, which start their own: the machine's are neither started nor enabled by this.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
list=$here/packages.txt

case "$*" in
    "") cut= ;;
    --build) cut='/^# -- test/q' ;;
    *) sed -n '2,6p' "$0" >&2; exit 2 ;;
esac
wanted=$(sed -e "$cut" "$list" | sed -e 's/#.*//' -e '/^[[:space:]]*$/d' | awk '{print $1}' | sort)
have=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 2>/dev/null | awk '$1 ~ /^.i/ {print $2}' | sort -u)
missing=$(comm -23 <(echo "$wanted") <(echo "$have"))
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "these Debian packages are missing; run this command as root, or install them: $(echo $missing)" >&2
    exit 1
fi
echo "installing: $(echo $missing)" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
# shellcheck disable=SC2086
apt-get -q -y install --no-install-recommends $missing >/tmp/warren-install.$$.log 2>&1 || {
    tail -n 30 "/tmp/warren-install.$$.log" >&2
    echo "apt-get could not install the packages above" >&2
    exit 1
}
rm -f "/tmp/warren-install.$$.log"
for pair in nginx-light:nginx redis-server:redis-server postgresql:postgresql; do
    if echo "$missing" | grep -qx "${pair%%:*}" && command -v systemctl >/dev/null; then
        systemctl disable --quiet "${pair##*:}" 2>/dev/null || echo "could not disable the service ${pair##*:}; it starts with the machine" >&2
    fi
done
