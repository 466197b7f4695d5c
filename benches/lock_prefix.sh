#!/usr/bin/env bash
# Fails when a lock-prefixed instruction stands on the local path of wake and poll.
#
#   benches/lock_prefix.sh             builds benches/lock_probe.rs and inspects it
#   benches/lock_prefix.sh PROGRAM     inspects a program that is built already
#
# lock_prefix.py says what is counted and what is followed. Exit status: 0 nothing is locked, or the
# check does not apply here (it says why); 1 something is, or the check could not be made.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ $(uname -m) != x86_64 ]]; then
    echo "lock_prefix: skipped: it reads x86_64 instructions, and this is $(uname -m)"
    exit 0
fi
for tool in objdump readelf c++filt python3; do
    if ! command -v "$tool" >/dev/null; then
        echo "lock_prefix: FAILED: needs $tool (Debian: apt-get install binutils python3)" >&2
        exit 1
    fi
done

exec python3 "$here/lock_prefix.py" "$here/../Cargo.toml" "$@"
