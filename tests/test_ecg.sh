#!/usr/bin/env bash
# test_ecg.sh — the ECG filtered at once, streamed on the command line in chunks of two lengths, and by the program ecg:
# the same beats, the same root mean square; and the picture in the tree is the one that the program draws.
set -euo pipefail
frax=${FRAX_PROGRAM:-build/frax} examples=frontend/examples
program=$(dirname "$frax")/example_ecg
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# run NAME [OPTION...]: the beats as text, one a line, in NAME; rms on standard output.
run() {
    local name=$scratch/$1
    shift
    "$frax" run $examples/ecg.frax --in adc=$examples/data/ecg.npy --out "beats=$name.npy" --out "rms=$name.rms.npy" "$@"
    od -A n -v -t f8 -w8 -j 128 "$name.npy" >"$name"
    od -A n -v -t f8 -w8 -j 128 "$name.rms.npy"
}

# near A B TOLERANCE: as many numbers in both files, none further apart.
near() {
    paste "$1" "$2" | awk -v most="$3" '
        NF != 2 || !(($1 - $2) ^ 2 <= most ^ 2) { bad = 1 }
        END { exit bad || NR == 0 }' || { echo "$1 and $2 differ"; exit 1; }
}

run whole >"$scratch/rms"
run second --stream T:360 >>"$scratch/rms"
run chunk --stream T:4096 >>"$scratch/rms" # the last one is short
near "$scratch/whole" "$scratch/second" 1e-12
near "$scratch/whole" "$scratch/chunk" 1e-12
[ "$(wc -l <"$scratch/whole")" -eq 108000 ]

"$program" $examples/ecg.frax $examples/data/ecg.npy "$scratch/ecg.svg" | sed -n 's/^rms = \([0-9.]*\).*/\1/p' >>"$scratch/rms"
for i in 1 2 3 4; do sed -n 1p "$scratch/rms"; done >"$scratch/expected"
near "$scratch/rms" "$scratch/expected" 1e-8

# A processor may round the last digit of a coordinate, a tenth of a pixel, in its own way.
paste -d '\n' $examples/ecg.svg "$scratch/ecg.svg" | awk '
    NR % 2 { shown = $0; next }
    shown != $0 {
        n = split(shown, a, " ")
        if (n != NF) bad = NR / 2
        for (i = 1; i <= n; i++) if (a[i] != $i && !(a[i] + 0 && (a[i] - $i) ^ 2 < 0.11 ^ 2)) bad = NR / 2
    }
    END { if (bad) print "ecg.svg is not what the program draws: line " bad; exit bad != 0 }'
[ "$(wc -c <$examples/ecg.svg)" -lt 60000 ]
