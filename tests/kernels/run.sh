#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Boots Debian 12's cloud kernels under qemu, without KVM, with the programs of this build and runs guest.sh in them: the agent and a tunnel
# end to end (half a minute), and unless --quick all of tests/bpf (two more, on an idle machine). Ends with 0 when each kernel passed, 77 with a reason
# when something is missing and --no-download forbids to fetch it.
#
#   tests/kernels/run.sh [--quick] [--no-download] [SERIES...]      series: 6.1 6.12; both when none is named
#
# WARREN_BUILD: build folder, default build/dev. WARREN_KERNELS: cache for packages and their content, default ~/.cache/warren-kernels.
# KERNEL_TIMEOUT: seconds for one boot, default 900. KERNEL_TESTS: which of tests/bpf, as Catch2 reads it; default all. Downloads are apt's own, with the machine's sources and keys.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${WARREN_BUILD:-$root/build/dev}
cache=${WARREN_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/warren-kernels}
timeout=${KERNEL_TIMEOUT:-900}
quick=0 download=1 series=()
for argument in "$@"; do
    case $argument in
        --quick) quick=1 ;;
        --no-download) download=0 ;;
        6.1 | 6.12) series+=("$argument") ;;
        *) echo "run.sh: \"$argument\" is neither --quick, --no-download nor a series (6.1, 6.12)" >&2; exit 2 ;;
    esac
done
[ ${#series[@]} -gt 0 ] || series=(6.1 6.12)

skip() { echo "skipped: $1"; exit 77; }

# The programs that the host side needs, from their packages.
declare -A package=([qemu-system-x86_64]=qemu-system-x86 [busybox]=busybox-static [cpio]=cpio [xz]=xz-utils [openssl]=openssl [curl]=curl)
missing=()
for program in "${!package[@]}"; do command -v "$program" >/dev/null || missing+=("${package[$program]}"); done
if [ ${#missing[@]} -gt 0 ]; then
    [ $download = 1 ] || skip "no ${missing[*]}; tests/kernels/run.sh installs them"
    apt-get -q update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}" >/dev/null
fi
for program in bin/warren-agent bin/warren-ztunnel tests/bpf_test; do
    [ -x "$build/$program" ] || { echo "run.sh: $build/$program is missing: cmake --build --preset dev --target warren-agent warren-ztunnel bpf_test" >&2; exit 1; }
done

# fetch SERIES: the newest kernel of the series that apt knows, unpacked into the cache; prints its release.
fetch() {
    local meta=linux-image-cloud-amd64 name release have
    [ "$1" = 6.1 ] || meta=linux-image-$1-cloud-amd64
    have=$(ls -1d "$cache"/linux-image-"$1".*-cloud-amd64 2>/dev/null | sort -V | tail -1 || true)
    if [ $download = 1 ]; then
        name=$(apt-cache depends "$meta" 2>/dev/null | sed -n "s/.*Depends: \(linux-image-${1//./\\.}\..*\)/\1/p" | tail -1)
        if [ -n "$name" ] && [ ! -d "$cache/$name" ]; then
            mkdir -p "$cache/get"
            (cd "$cache/get" && apt-get -q download "$name" >&2 && dpkg-deb -x "$name"_*.deb "$cache/$name.new" && rm -f "$name"_*.deb)
            mv "$cache/$name.new" "$cache/$name"
        fi
        [ -z "$name" ] || [ ! -d "$cache/$name" ] || have=$cache/$name
    fi
    [ -n "$have" ] || return 1
    release=${have##*/linux-image-}
    [ -e "$have/boot/vmlinuz-$release" ] || return 1
    echo "$release"
}

# with_libraries FOLDER PROGRAM...: the libraries of these programs at the paths where the programs look for them.
with_libraries() {
    local folder=$1 library
    shift
    for library in $(ldd "$@" 2>/dev/null | grep -oE '/[^ :)]+' | sort -u); do
        [ ! -f "$library" ] || [ -e "$folder$library" ] || install -D "$library" "$folder$library"
    done
}

# make_guest FOLDER RELEASE: what the guest's memory disk holds.
make_guest() {
    local folder=$1 release=$2 module file
    mkdir -p "$folder"/{bin,sbin,lib/modules,lib64,sys,proc,dev,tmp,run,etc,www}
    cp -L "$(command -v busybox)" "$folder/bin/busybox"
    for applet in mount cat ls grep sed cut sleep poweroff uname insmod mkdir echo kill httpd head tr mv tail rm wc date env; do
        ln -s busybox "$folder/bin/$applet"
    done
    # Not busybox's shell and ip: that shell prefers its own ip to the real one, which knows batches.
    cp -L "$(command -v bash)" "$folder/bin/bash" && ln -s bash "$folder/bin/sh"
    cp -L "$(command -v ip)" "$folder/sbin/ip" && cp -L "$(command -v sysctl)" "$folder/sbin/sysctl"
    cp -L "$(command -v curl)" "$folder/bin/curl"
    cp "$build/bin/warren-agent" "$build/bin/warren-ztunnel" "$build/tests/bpf_test" "$folder/bin/"
    with_libraries "$folder" "$folder"/bin/{bash,curl,warren-agent,warren-ztunnel,bpf_test} "$folder"/sbin/{ip,sysctl}
    # The test has these paths compiled in.
    install -D -t "$folder$build/bpf" "$build/bpf/warren.bpf.o"
    install -D -t "$folder$root/tests/golden" "$root/tests/golden/verifier_budget.txt"
    for module in drivers/net/veth net/mptcp/mptcp net/ipv4/tcp_bbr net/ipv4/inet_diag net/ipv4/tcp_diag; do
        for file in "$cache/linux-image-$release/lib/modules/$release/kernel/$module".ko*; do
            [ -f "$file" ] || continue
            cp "$file" "$folder/lib/modules/"
            case $file in *.xz) xz -d "$folder/lib/modules/${file##*/}" ;; esac
        done
    done
    mkdir "$folder/ca"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$folder/ca/ca.key" -out "$folder/ca/ca.pem" -days 2 \
        -subj /O=lab -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
    echo "${KERNEL_TESTS:-*}" >"$folder/etc/tests"
    cp "$here/guest.sh" "$folder/init" && chmod +x "$folder/init"
}

status=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for one in "${series[@]}"; do
    release=$(fetch "$one") || {
        [ $download = 1 ] || skip "no kernel $one in $cache; tests/kernels/run.sh fetches it"
        echo "run.sh: apt knows no cloud kernel $one" >&2
        exit 1
    }
    make_guest "$work/$one" "$release"
    (cd "$work/$one" && find . | cpio -o -H newc 2>/dev/null | gzip -1 >"$work/$one.gz")
    began=$(date +%s)
    timeout -k 5 "$timeout" qemu-system-x86_64 -cpu max -smp 2 -m 3072 -nographic -no-reboot -kernel "$cache/linux-image-$release/boot/vmlinuz-$release" \
        -initrd "$work/$one.gz" -append "console=ttyS0 panic=-1 quiet warren_quick=$quick" </dev/null 2>&1 | sed -un 's/\r//; /KERNEL/,$p' |
        tee "$work/$one.out" || true
    if grep -q '^WARREN PASSED$' "$work/$one.out"; then verdict=passed; else verdict=FAILED status=1; fi
    echo "== $release: $verdict, $(($(date +%s) - began)) s"
done
exit $status
