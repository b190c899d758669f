#!/bin/sh
# A data directory for the server to start on, which then reads the archive: `restore-moment.sh /BASES/NAME /ARCHIVE /DATA [TIME]`.
# Without TIME (as in '2026-11-25 14:30:00+00') it goes on to the end of the archive. What the dead server had not archived yet
# is copied from its pg_wal first, when there is one: PG_WAL=/OLD-DATA/pg_wal.
set -eu
base="$1" archive="$2" data="$3" time="${4:-}"
[ ! -e "$data" ] || [ -z "$(ls -A "$data")" ] || { echo "restore-moment: $data is not empty: nothing was done" >&2; exit 1; }
[ -f "$base/backup_label" ] || { echo "restore-moment: $base is no base backup" >&2; exit 1; }
"$(dirname "$0")/check-base.sh" "$base"
mkdir -p "$data"
chmod 700 "$data"
cp -a "$base/." "$data/"
if [ -n "${PG_WAL:-}" ]; then
    for path in "$PG_WAL"/[0-9A-F]*; do
        name="$(basename "$path")"
        [ -f "$path" ] && [ ! -e "$archive/$name" ] && cp "$path" "$data/pg_wal/$name"
    done
fi
{
    echo "restore_command = 'cp \"$archive/%f\" \"%p\"'"
    echo "recovery_target_timeline = 'latest'"
    echo "recovery_target_action = 'promote'"
    [ -z "$time" ] || echo "recovery_target_time = '$time'"
} >>"$data/postgresql.auto.conf"
touch "$data/recovery.signal"
echo "restore-moment: start PostgreSQL on $data; it answers when it has read everything"
