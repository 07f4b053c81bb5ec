#!/usr/bin/env bash
# Install what `make test-all` needs beyond Python packages: Chromium for the browser tests, redis-server, and the
# tools of `make` itself. Debian and Ubuntu; quick when all is there; does not start or enable any server.
set -euo pipefail

missing=()
have() { command -v "$1" >/dev/null 2>&1; }
have make || missing+=(make)
have redis-server || missing+=(redis-server)
have chromium || have chromium-browser || have google-chrome || missing+=(chromium)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

if [ ${#missing[@]} -eq 0 ]; then
    echo "Test servers: all installed."
    exit 0
fi
if ! have apt-get; then
    echo "Please install: ${missing[*]} (this script knows apt-get only)" >&2
    exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    have sudo || { echo "Please install as root: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
fi

# A package that starts its server when installed would take its fixed port; the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

echo "Installing: ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
apt update
if [[ " ${missing[*]} " == *" chromium "* ]] && [ -z "$(apt-cache madison chromium)" ]; then
    echo "This system has no Chromium package (Ubuntu ships a snap): install Google Chrome, then run this again." >&2
    exit 1
fi
apt install -y --no-install-recommends "${missing[@]}" >/dev/null
echo "Installed: ${missing[*]}"
