#!/usr/bin/env bash
# What the README shows is true: its program in C is the example's file, its models check, and its commands print what
# stands below them.
#
#   ```frax     a model; one that begins with "# NAME.frax" is saved under that name
#   ```console  lines after "$ " are commands, the lines below each its output; numbers may differ in the last digits,
#               and the counts of an optimiser's steps may differ
#   ```c        frontend/examples/embed.c
#
# Commands run in a folder where build/ and the tree's folders are as a reader has them. --update FILE writes the README
# with the outputs as they are.
set -euo pipefail
program=${FRAX_PROGRAM:?the built program}
root=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export LC_ALL=C

mkdir "$scratch/tree"
ln -s "$root"/*/ "$scratch/tree/"
rm -f "$scratch/tree/build"
ln -s "$(dirname "$program")" "$scratch/tree/build"

# blocks KIND: the fenced blocks of a kind, each into a file of its own: 1.KIND, 2.KIND …
blocks() {
    awk -v kind="$1" -v out="$scratch" '
        $0 == "```" kind { file = out "/" ++n "." kind; printf "" >file; next }
        /^```/ { file = "" }
        file { print >file }' README.md
}
for kind in frax console c; do blocks "$kind"; done

# Sanitizers must be loaded first, which a plain program linked with such a library does not do.
sanitized=$(nm -D "${FRAX_LIBRARY:?the built library}" | grep -c -E ' (__asan_init|__tsan_init)$' || true)

for model in "$scratch"/*.frax; do
    name=$(sed -n '1s/^# \([a-z]*\.frax\).*/\1/p' "$model")
    [ -z "$name" ] || cp "$model" "$scratch/tree/$name"
    "$program" check "$model" >/dev/null
done

cmp "$scratch/1.c" frontend/examples/embed.c || { echo "the program in the README is not frontend/examples/embed.c"; exit 1; }

# run BLOCK: the block again, with the outputs that its commands have now.
run() {
    while IFS= read -r line; do
        [[ $line == '$ '* ]] || continue
        printf '%s\n' "$line"
        (cd "$scratch/tree" && bash -c "${line#\$ }" 2>&1) || true
    done <"$1"
}

# same SHOWN GOT: line by line; numbers to a relative 1e-5.
same() {
    awk -v got="$2" '
        function words(s, w) { gsub(/[][ ,:(){}=]+/, " ", s); return split(s, w, " ") }
        function is_number(s) { return s ~ /^[-+]?[0-9]*\.?[0-9]+(e[-+]?[0-9]+)?$/ }
        function abs(x) { return x < 0 ? -x : x }
        function differs(a, b,   n, i) {
            if (a ~ /^[0-9]+ steps, /) { gsub(/[0-9]+/, "N", a); gsub(/[0-9]+/, "N", b) }
            n = words(a, u)
            if (n != words(b, v)) return 1
            for (i = 1; i <= n; i++) {
                if (u[i] == v[i]) continue
                if (!is_number(u[i]) || !is_number(v[i]) || abs(u[i] - v[i]) > 1e-5 * abs(u[i])) return 1
            }
            return 0
        }
        { other = ""; more = (getline other <got) > 0 }
        !more || differs($0, other) { printf "the README shows\n  %s\nbut got\n  %s\n", $0, other; bad = 1; exit }
        END { if (!bad && (getline other <got) > 0) { printf "the README lacks\n  %s\n", other; bad = 1 }; exit bad }' "$1"
}

failed=0 count=0
while [ -f "$scratch/$((count + 1)).console" ]; do
    count=$((count + 1))
    block=$scratch/$count.console
    if [ "$sanitized" -gt 0 ] && grep -q '^\$ cc ' "$block"; then continue; fi
    run "$block" >"$block.got"
    [ -n "${1:-}" ] || same "$block" "$block.got" || failed=1
done
[ "$count" -gt 0 ] || { echo "found no commands in the README"; exit 1; }

if [ "${1:-}" = --update ]; then
    awk -v out="$scratch" '
        /^```console$/ { print; file = out "/" ++n ".console.got"; while ((getline line <file) > 0) print line; skip = 1; next }
        skip && /^```$/ { skip = 0 }
        !skip { print }' README.md >"$scratch/README.md"
    cp "$scratch/README.md" "${2:?a file}"
fi
exit "$failed"
