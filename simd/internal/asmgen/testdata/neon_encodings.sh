#!/bin/sh
# Writes neon_encodings.txt: every vector instruction of the arm64 kernels and the
# word that GNU as (Debian: binutils-aarch64-linux-gnu) makes of it.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
export LC_ALL=C
sed -n 's/^\tWORD .* \/\/ //p' ../../../*_arm64.s | sort -u >"$work/text"
aarch64-linux-gnu-as -march=armv8.6-a -o "$work/o" "$work/text"
aarch64-linux-gnu-objcopy -O binary -j .text "$work/o" "$work/bin"
od -An -v -tx4 -w4 --endian=little "$work/bin" | tr -d ' ' | paste -d' ' - "$work/text" >neon_encodings.txt
