#!/bin/sh
# Whether a base backup is what the server sent: `check-base.sh /BASES/NAME`. By the sums of its manifest, with no program of
# PostgreSQL, so that it can be asked anywhere.
set -eu
cd "$1"
sums="$(sed -n 's/^{ "Path": "\([^"]*\)".* "Checksum-Algorithm": "SHA256", "Checksum": "\([0-9a-f]*\)".*/\2  \1/p' backup_manifest)"
[ -n "$sums" ] || { echo "check-base: $1 has no manifest with SHA-256 sums" >&2; exit 1; }
echo "$sums" | sha256sum --check --strict --quiet
