#!/usr/bin/env bash
# Builds csrc/ under the thread sanitizer, on plain threads in place of OpenMP's, and runs tests/races/driver.c.
# `make sanitize-threads` calls this. GCC with libtsan; the only races that may be are in functions marked SLIDE_RACY.
set -euo pipefail
cd "$(dirname "$0")/../.."
cc=${CC:-gcc}
out=build/races
mkdir -p "$out"
rm -f "$out"/*.o
flags=(-std=gnu11 -g -O1 -fno-omit-frame-pointer -fsanitize=thread -Icsrc)
printf '%s\0' csrc/*/*.c | xargs -0 -P "$(getconf _NPROCESSORS_ONLN)" -I {} \
    bash -c '"${@:3}" -c "$1" -o "$2/${1//\//-}.o"' _ {} "$out" "$cc" "${flags[@]}" -fopenmp
"$cc" "${flags[@]}" tests/races/gomp.c tests/races/driver.c "$out"/*.o -lm -lpthread -o "$out/driver"
export TSAN_OPTIONS="halt_on_error=0 exitcode=66 second_deadlock_stack=1 suppressions=tests/races/suppressions.txt"
if "$out/driver" planted 2> "$out/planted.log"; then
    echo "the thread sanitizer did not see a race that is there on purpose: its silence would mean nothing" >&2
    exit 1
fi
"$out/driver"
