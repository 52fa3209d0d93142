#!/usr/bin/env bash
# Installs the Debian 12 packages of packages.txt that are missing, as root or through sudo.
#
#   tools/setup/install.sh [build] [test] [bench]      default: all three groups
#
# Safe to run twice: what is there is left alone, and when all is there apt is not called at all.
# Redis and memcached are installed for tests and benchmarks only: no service of theirs is started,
# and none is switched on for the next boot.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
list=$here/packages.txt
groups=("$@")
[ ${#groups[@]} -gt 0 ] || groups=(build test bench)

say() { printf 'install: %s\n' "$*"; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }

for group in "${groups[@]}"; do
  case $group in
    build|test|bench) ;;
    -h|--help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) printf 'install: unknown group "%s": expected build, test or bench\n' "$group" >&2; exit 2 ;;
  esac
done

command -v apt-get >/dev/null || die "no apt-get here: this script knows Debian 12 only.
  Install what $list names by the means of your system, then use --no-install."

wanted() {
  local group package
  while read -r group package _; do
    case " ${groups[*]} " in *" $group "*) printf '%s\n' "$package" ;; esac
  done < <(sed 's/#.*//' "$list" | grep -v '^[[:space:]]*$')
}

missing=()
for package in $(wanted); do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -eq 0 ]; then
  say "every package of: ${groups[*]} is there"
  exit 0
fi
say "missing of ${groups[*]}: ${missing[*]}"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || die "not root and no sudo: run this as root:
  apt-get install --no-install-recommends ${missing[*]}"
  as_root=(sudo)
fi

# A policy of 101 keeps maintainer scripts from starting services; ours goes when we are done.
policy=/usr/sbin/policy-rc.d
policy_is_ours=no
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  policy_is_ours=yes
fi
cleanup() { if [ "$policy_is_ours" = yes ]; then "${as_root[@]}" rm -f "$policy"; fi; }
trap cleanup EXIT

apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
say "apt-get update"
"${apt[@]}" update -qq || say "apt-get update failed; trying with the lists that are there"
say "apt-get install --no-install-recommends (${#missing[@]} packages and what they need)"
"${apt[@]}" install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

if command -v systemctl >/dev/null; then
  for package in "${missing[@]}"; do
    case $package in
      redis-server|memcached)
        say "switching the service $package off: only private instances are used here"
        "${as_root[@]}" systemctl disable "$package.service" >/dev/null 2>&1 || true ;;
    esac
  done
fi
say "installed ${#missing[@]} packages"
