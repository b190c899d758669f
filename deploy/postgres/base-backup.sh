#!/bin/sh
# A base backup, to start from when a moment is restored: `base-backup.sh /BASES /ARCHIVE [KEEP]`.
# It is checked and then gets its name; of the older ones KEEP (2) stay, with the WAL that they need. libpq's variables
# (PGHOST, PGUSER, PGPASSWORD) say where the server is; the account needs REPLICATION. Programs of the server's version are
# looked for on PATH.
set -eu
bases="$1" archive="$2" keep="${3:-2}"
[ "$keep" -ge 1 ] || { echo "base-backup: KEEP is at least 1: the one that is made now" >&2; exit 2; }
# By their names: what else lies there is nobody's to count, and nobody's to delete.
made() { ls -1 "$bases" | grep -E '^[0-9]{8}T[0-9]{6}Z$'; }
mkdir -p "$bases"
exec 9>"$bases/.lock"
flock -n 9 || { echo "base-backup: another one is being made" >&2; exit 1; }
rm -rf "$bases"/.part-*
name="$(date -u +%Y%m%dT%H%M%SZ)"
part="$bases/.part-$name"
pg_basebackup --pgdata="$part" --wal-method=stream --checkpoint=fast --manifest-checksums=SHA256 --no-password
"$(dirname "$0")/check-base.sh" "$part"
sync -f "$part"
mv -T "$part" "$bases/$name"
sync "$bases"

# Only now: there is one more good one.
made | sort -r | tail -n "+$((keep + 1))" | while read -r old; do rm -rf "${bases:?}/$old"; done
oldest="$(made | head -n 1)"
first="$(sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/\1/p' "$bases/$oldest/backup_label")"
pg_archivecleanup "$archive" "$first"
echo "base-backup: $bases/$name; kept: $(made | tr '\n' ' ')with the WAL from $first on"
