#!/usr/bin/env bash
# The shared library exports every function that the public headers declare and not one name more; each header stands
# alone.
set -euo pipefail
library=${FRAX_LIBRARY:?the built libfrax.so}
scratch=$(mktemp -d)
export LC_ALL=C # one order for sort and comm
trap 'rm -rf "$scratch"' EXIT

cat include/*.h | grep -v '^ *\*' | tr '\n' ' ' | grep -oE 'FRAX_API [^;(]*\(' | grep -oE 'frax_[a-z0-9_]+' |
    sort >"$scratch/declared"
nm -D --defined-only "$library" | awk '{print $3}' | sort >"$scratch/exported"
[ -s "$scratch/declared" ] || { echo "found no FRAX_API declaration in include/"; exit 1; }
undefined=$(comm -23 "$scratch/declared" "$scratch/exported")
private=$(comm -13 "$scratch/declared" "$scratch/exported")
[ -z "$undefined" ] || printf 'declared in include/ but defined nowhere:\n%s\n' "$undefined"
[ -z "$private" ] || printf 'exported but not declared in include/:\n%s\n' "$private"
[ -z "$undefined$private" ]

# Each header by itself, as C11 and as C++17, for whatever compilers there are.
for header in include/*.h; do
    for how in "${CC:-cc} -std=c11 -x c" "clang -std=c11 -x c" "c++ -std=c++17 -x c++" "clang++ -std=c++17 -x c++"; do
        command -v "${how%% *}" >/dev/null || continue
        echo "#include <${header#include/}>" |
            $how -Wall -Wextra -pedantic -Werror -Iinclude -fsyntax-only - || { echo "$header: $how"; exit 1; }
    done
done
