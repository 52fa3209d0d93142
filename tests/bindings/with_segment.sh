#!/bin/sh
# Runs a program with the name of a segment, which is there while it runs.
#   with_segment.sh SEGMENT_HOLDER PROGRAM [ARGUMENT...]
set -eu
holder=$1
shift
name="test-with-segment-$$"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/in" "$folder/out"

"$holder" "$name" <"$folder/in" >"$folder/out" &
pid=$!
exec 3>"$folder/in" 4<"$folder/out"
read -r line <&4
[ "$line" = ready ]

status=0
"$@" "$name" 3>&- 4<&- || status=$?
exec 3>&-
wait "$pid"
exit "$status"
