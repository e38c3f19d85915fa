#!/usr/bin/env bash
# The shared library exports every function that frax.h declares and not one name more; the header stands alone.
set -euo pipefail
library=${FRAX_LIBRARY:?the built libfrax.so}
scratch=$(mktemp -d)
export LC_ALL=C # one order for sort and comm
trap 'rm -rf "$scratch"' EXIT

grep -v '^ *\*' include/frax.h | tr '\n' ' ' | grep -oE 'FRAX_API [^;(]*\(' | grep -oE 'frax_[a-z0-9_]+' |
    sort >"$scratch/declared"
nm -D --defined-only "$library" | awk '{print $3}' | sort >"$scratch/exported"
[ -s "$scratch/declared" ] || { echo "found no FRAX_API declaration in include/frax.h"; exit 1; }
undefined=$(comm -23 "$scratch/declared" "$scratch/exported")
private=$(comm -13 "$scratch/declared" "$scratch/exported")
[ -z "$undefined" ] || printf 'declared in include/frax.h but defined nowhere:\n%s\n' "$undefined"
[ -z "$private" ] || printf 'exported but not declared in include/frax.h:\n%s\n' "$private"
[ -z "$undefined$private" ]

echo '#include "frax.h"' >"$scratch/only.c"
"${CC:-cc}" -std=c11 -Wall -Wextra -pedantic -Werror -Iinclude -fsyntax-only "$scratch/only.c"
