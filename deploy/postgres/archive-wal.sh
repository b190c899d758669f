#!/bin/sh
# Keeps a finished WAL segment: `archive_command = '/…/archive-wal.sh /ARCHIVE %p %f'`.
# Under its name it is whole and on disk, or not there. A segment that is there already is fine if it is the same one.
set -eu
archive="$1" path="$2" name="$3"
if [ -e "$archive/$name" ]; then
    cmp -s "$path" "$archive/$name" && exit 0
    echo "archive-wal: $archive/$name is there, and is another one" >&2
    exit 1
fi
part="$archive/.$name.$$"
trap 'rm -f "$part"' EXIT
dd if="$path" of="$part" bs=1M conv=fsync status=none
mv -n "$part" "$archive/$name"
# Not every mv says so when somebody else was there first.
[ ! -e "$part" ] || { echo "archive-wal: $archive/$name has come meanwhile" >&2; exit 1; }
sync "$archive"
