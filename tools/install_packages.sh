#!/usr/bin/env bash
# Installs the Debian packages of tools/packages.txt that are missing. Quick when none is. Needs root only when it installs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
list=$here/packages.txt

wanted=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$list" | awk '{print $1}' | sort)
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
# shellcheck disable=SC2086
apt-get -q -y install --no-install-recommends $missing >/tmp/warren-install.$$.log 2>&1 || {
    tail -n 30 "/tmp/warren-install.$$.log" >&2
    echo "apt-get could not install the packages above" >&2
    exit 1
}
rm -f "/tmp/warren-install.$$.log"
