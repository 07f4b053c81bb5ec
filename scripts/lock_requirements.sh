#!/usr/bin/env bash
# Make requirements.txt and requirements-dev.txt anew: exact versions for every platform, every file hashed.
#
#   scripts/lock_requirements.sh             keep the versions that are pinned, add what is new
#   scripts/lock_requirements.sh --upgrade   take the newest versions that the .in files allow
#
# Packages come from whichever index uv is set up to use; neither its address nor any path is written down.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock() {
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header \
        --output-file "$1.txt" "${@:2}" "$1.in" >/dev/null
    # A comment on top, put back each time because uv writes the file anew.
    sed -i "1i # Made by scripts/lock_requirements.sh from $1.in. Do not edit." "$1.txt"
}

lock requirements "$@"
lock requirements-dev "$@"
.venv/bin/python -m scripts.audit_requirements --offline requirements.txt requirements-dev.txt
