#!/bin/sh
# The container's first process. It starts the extensions, then the image's own entry point, both when it is told to,
# and says what happens on descriptor 3:
#   extension NAME | listed | exit NAME CODE
# Standard input is the other way: a line starts the extensions, another the runtime; its end is ours.
# Arguments: variables that podman sets and Lambda doesn't, joined by commas; then the entry point.

# It ends by killing every process that it can see, which must be those of its container and no others.
[ "$$" = 1 ] || { echo "$0: not the first process of a container" >&2; exit 2; }

unset $(echo "$1" | tr , ' ')
shift
exec 4<&0 </dev/null

for path in /opt/extensions/*; do
  [ -f "$path" ] && [ -x "$path" ] && echo "extension ${path##*/}" >&3
done
echo listed >&3

# Runs a command and tells how it ended.
watch() {
  name=$1
  shift
  "$@" 3>&- 4<&-
  echo "exit $name $?" >&3
}

read -r _ <&4 || exit 0
for path in /opt/extensions/*; do
  [ -f "$path" ] && [ -x "$path" ] && watch "${path##*/}" "$path" &
done

read -r _ <&4 || exit 0
"$@" 3>&- 4<&- &
runtime=$!
trap 'kill -TERM "$runtime" 2>/dev/null' TERM

# Whoever started us holds the other end: when that is gone, nobody needs us.
( trap - TERM; while read -r _; do :; done; kill -KILL -1 ) <&4 3>&- &

wait "$runtime" 2>/dev/null # or the shell says "Killed" in the log
code=$?
# A signal that we pass on ends the waiting, not the runtime.
while kill -0 "$runtime" 2>/dev/null; do
  wait "$runtime" 2>/dev/null
  code=$?
done
echo "exit runtime $code" >&3
# The memory's account ends with this process, so it stays until it is killed.
while read -r _; do :; done <&4
