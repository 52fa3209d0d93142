#!/usr/bin/env bash
# Proves that a fresh Debian 12 is all that tools/quickstart and tools/test need: makes a minimal
# bookworm folder, puts a fresh clone of HEAD in it, and runs the command there.
#
#   tools/setup/clean_room.sh [test|quickstart|shell] [argument of the command]...
#
# Needs root and debootstrap. The folder is $CACHEE_CLEAN_ROOM (default /var/tmp/cachee-clean-room):
# base/ is bootstrapped once and kept, room/ is made anew by each run. The package source is that
# of this machine (its /etc/apt); nothing about it is written into the tree. Mounts live in a mount
# namespace of their own, so none is left behind whatever happens.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "$here/../.." && pwd)
room_dir=${CACHEE_CLEAN_ROOM:-/var/tmp/cachee-clean-room}
base=$room_dir/base
room=$room_dir/room

say() { printf 'clean_room: %s\n' "$*"; }
die() { printf 'clean_room: %s\n' "$*" >&2; exit 1; }

what=${1:-test}
[ $# -eq 0 ] || shift
case $what in
  test|quickstart) command=(bash -c 'cd /root/cachee && exec tools/'"$what"' "$@"' "$what" "$@") ;;
  shell) command=(bash -l) ;;
  -h|--help) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
  *) printf 'clean_room: unknown command "%s": expected test, quickstart or shell\n' "$what" >&2; exit 2 ;;
esac
[ "$(id -u)" -eq 0 ] || die "debootstrap and chroot need root"
command -v debootstrap >/dev/null || die "no debootstrap here: apt-get install debootstrap"

if [ ! -e "$base/.complete" ]; then
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
           grep -oE 'https?://[^ ]+/debian/?( |$)' | head -1 | tr -d ' ' || true)
  [ -n "$mirror" ] || die "found no Debian package source in /etc/apt"
  say "bootstrapping a minimal bookworm into $base"
  rm -rf --one-file-system "$base"
  mkdir -p "$base"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$base" "$mirror" >"$room_dir/debootstrap.log" 2>&1 ||
    die "debootstrap failed: see $room_dir/debootstrap.log"
  touch "$base/.complete"
fi

say "making a fresh room"
rm -rf --one-file-system "$room"
cp -a "$base" "$room"
# The machine's own package source, its trust and its name server; third-party sources stay out.
rm -f "$room/etc/apt/sources.list"
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.*; do
  [ ! -e "$file" ] || cp "$file" "$room/etc/apt/${file#/etc/apt/}"
done
for file in /etc/apt/apt.conf.d/99* /etc/apt/apt.conf; do
  [ ! -e "$file" ] || cp "$file" "$room/etc/apt/${file#/etc/apt/}"
done
cp -L /etc/resolv.conf /etc/hosts "$room/etc/"
if [ -d /etc/ssl/certs ]; then cp -aL /etc/ssl/certs/ca-certificates.crt "$room/etc/ssl/certs/" 2>/dev/null || true; fi
git clone -q --no-hardlinks "$tree" "$room/root/cachee"
say "clone of $(git -C "$room/root/cachee" log -1 --format='%h %s')"

say "running: $what $*"
set +e
unshare --mount --pid --fork --kill-child bash -c '
  set -e
  room=$1; shift
  mount -t proc proc "$room/proc"
  mount --rbind /dev "$room/dev"
  mount -t tmpfs -o mode=1777 tmpfs "$room/dev/shm"
  mount -t tmpfs -o mode=1777 tmpfs "$room/tmp"
  exec chroot "$room" env -i HOME=/root USER=root TERM="${TERM:-dumb}" LANG=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
' clean_room "$room" "${command[@]}"
code=$?
set -e
if [ $code -eq 0 ]; then say "PASS: $what in a clean bookworm"; else say "FAIL: $what in a clean bookworm (exit $code)"; fi
exit $code
