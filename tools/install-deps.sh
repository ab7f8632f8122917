#!/usr/bin/env bash
# tools/install-deps.sh: install, as root on Debian 12, what building and testing need. Does nothing when all is there.
set -euo pipefail
packages=(g++ cmake ninja-build ccache pkg-config git
  libuv1-dev nlohmann-json3-dev libcli11-dev libspdlog-dev libfmt-dev libtomlplusplus-dev doctest-dev
  libzstd-dev zlib1g-dev libssl-dev uuid-dev libxen-dev
  qemu-system-x86 qemu-system-xen qemu-utils seabios ipxe-qemu xen-utils-4.17 zstd socat python3 clang-format clang-tidy-19)
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
# No recommends: xen-utils would pull in a hypervisor and change the boot menu.
apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
