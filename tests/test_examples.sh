#!/usr/bin/env bash
# test_examples.sh — every example model compiles and gives the same results eager and fused, with its gradients where it has a loss.
set -euo pipefail
frax=${FRAX_PROGRAM:-build/frax}
sizes=(B=3 N=40 T=50 H=12 W=20)
tried=0

# bench MODEL SIZES… [--grad]: bench compares the results of both targets before it times them.
bench() {
    "$frax" bench "$@" --repeat 1 --threads 1 --no-cache >/dev/null
    tried=$((tried + 1))
}

for file in frontend/examples/*.frax; do
    for name in $(sed -n 's/^model \([a-z_0-9]*\)(.*/\1/p' "$file"); do
        model=$file:$name signature=$("$frax" check "$file:$name") options=()
        for size in "${sizes[@]}"; do
            if grep -q "[[,*+-]${size%=*}[],*+-]" <<<"$signature"; then options+=(--size "$size"); fi
        done
        if grep -q 'return loss' <<<"$signature"; then options+=(--grad); fi
        bench "$model" "${options[@]}"
    done
done
echo "$tried models"
[ "$tried" -ge 6 ]
