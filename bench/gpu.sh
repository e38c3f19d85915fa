#!/usr/bin/env bash
# gpu.sh — the tests and the benchmark of the CUDA target on this machine's GPU, in one go of under eight minutes.
#
#     bench/gpu.sh [--build DIR] [--quick] [--out FILE.md] [--tests-only | --bench-only]
#     bench/gpu.sh --pack FILE.tar.xz [--build DIR]
#
# Builds what it needs in build/ from what is installed here (./dev build installs it where there is a network), or
# takes the programs of DIR as they are. Then the tests of the CUDA target run on the device, side by side, and the
# benchmark, and PyTorch where Python has it. Each phase has its time limit, and the table is written whatever happens:
# to bench/results/gpu-DEVICE-DATE.md, with the figures as JSON beside it; logs stay in DIR/gpu. The status is 0 when
# all tests passed and no part of the benchmark failed; missed bars are told, and are no failure.
#
# --pack puts the programs and the libraries that they need (all but those of the C library and of NVIDIA) into an
# archive, for a machine where nothing can be installed: unpack it in the root of the same tree, and give its folder,
# frax-gpu, as --build.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

total_seconds=460 # of all phases; each leaves what the later ones need
build_seconds=170 tests_seconds=150 bench_seconds=100 peers_seconds=120
programs=(frax frax_gpu_bench test_cuda_runtime test_cuda_run test_cuda_fit test_cuda_cli test_cuda_object
    test_cuda_blas test_cuda_fft test_cuda_causal test_threads_cuda test_cuda_values)
build='' out='' quick='' pack='' tests=1 bench=1

say() { printf 'gpu.sh: %s\n' "$*" >&2; }
die() { say "$2"; exit "$1"; }
usage() { die 2 'usage: bench/gpu.sh [--build DIR] [--quick] [--out FILE.md] [--tests-only|--bench-only] | --pack FILE.tar.xz [--build DIR]'; }

while [ $# -gt 0 ]; do
    case "$1" in
    --build | --out | --pack)
        [ $# -gt 1 ] || usage
        printf -v "${1#--}" %s "$2"
        shift
        ;;
    --quick) quick=--quick ;;
    --tests-only) bench='' ;;
    --bench-only) tests='' ;;
    *) usage ;;
    esac
    shift
done
[ -n "$tests$bench" ] || usage

# limit SECONDS RESERVE: what a phase may take, with RESERVE left for the later ones.
limit() {
    local left=$((total_seconds - SECONDS - $2))
    [ "$left" -lt "$1" ] || left=$1
    [ "$left" -gt 1 ] || left=1
    echo "$left"
}

# ---- Building ----

# Those of LLVM that can be had besides where the build looks.
find_llvm() {
    local version
    [ -z "${LLVM_DIR:-}" ] && command -v llvm-config >/dev/null || return 0
    version=$(llvm-config --version)
    [ "${version%%.*}" -lt 19 ] || LLVM_DIR=$(llvm-config --cmakedir)
    export LLVM_DIR
}

# What cannot be done without. NumPy is for other tests; FFTW can be left out, and Ninja replaced by make.
find_missing() {
    local optional='^(python3-numpy|libfftw3-dev)$'
    ! command -v make >/dev/null || optional='^(python3-numpy|libfftw3-dev|ninja-build)$'
    ./dev missing | grep -vE "$optional" | tr '\n' ' '
}

# build_programs LOG: configures when new, then builds the programs alone; false with the reason in $problem.
build_programs() {
    local missing options=() targets=() program
    find_llvm
    missing=$(find_missing)
    if [ -n "$missing" ]; then
        problem="frax cannot be built here: missing, in the words of Debian's packages: $missing(LLVM is needed for every
build; ./dev build installs all where there is a network; or pack a build of another machine: bench/gpu.sh --pack)"
        return 1
    fi
    if [ ! -f "$build/CMakeCache.txt" ]; then
        command -v ninja >/dev/null && options+=(-G Ninja)
        pkg-config --exists fftw3 fftw3f || options+=(-DFRAX_FFTW=OFF)
        [ -z "${LLVM_DIR:-}" ] || options+=("-DLLVM_DIR=$LLVM_DIR")
        cmake -B "$build" "${options[@]}" >"$1" 2>&1 || { problem="the configuration failed, see $1"; return 1; }
    fi
    for program in "${programs[@]}"; do
        [ "$program" = frax ] && program=frax_program
        targets+=("$program")
    done
    timeout -k 5 "$(limit $build_seconds 200)" cmake --build "$build" -j "$(nproc)" --target "${targets[@]}" >>"$1" 2>&1 ||
        { problem="the build failed or took too long, see $1"; return 1; }
}

# The programs are there; a build folder of one's own is not touched.
check_programs() {
    local program
    for program in "${programs[@]}"; do
        [ -x "$build/$program" ] || { problem="$build has no program $program; build the targets: frax_program ${programs[*]:1}"; return 1; }
    done
}

# ---- Packing ----

pack_build() {
    local folder log library
    log=$(mktemp)
    folder=$(mktemp -d)
    if [ -z "$build" ]; then
        build=build
        build_programs "$log" || die 1 "$problem"
    fi
    check_programs || die 1 "$problem"
    mkdir -p "$folder/frax-gpu/lib"
    git describe --always --dirty >"$folder/frax-gpu/version" 2>/dev/null
    for program in "${programs[@]}"; do
        strip -o "$folder/frax-gpu/$program" "$build/$program" || exit 1
    done
    ldd "$build/frax" "$build/frax_gpu_bench" "$build/test_cuda_run" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/(libc|libm|libmvec|libdl|librt|libpthread|ld-linux[^/]*)\.so' >"$log"
    while read -r library; do cp -L "$library" "$folder/frax-gpu/lib/"; done <"$log"
    XZ_OPT='-7 -T0' tar -C "$folder" -cJf "$pack" frax-gpu || exit 1
    rm -rf "$folder" "$log"
    say "$pack: $(du -m "$pack" | cut -f1) MB; unpack it in the root of the tree there, then: bench/gpu.sh --build frax-gpu"
}

if [ -n "$pack" ]; then
    pack_build
    exit 0
fi

# ---- The table ----

given_build=$build
[ -z "$given_build" ] || [ -d "$given_build" ] || die 2 "there is no folder $given_build"
build=${build:-build}
mkdir -p "$build/gpu" || exit 1
build=$(cd "$build" && pwd)
work=$build/gpu
rm -rf "${work:?}"/*
device='' failed=0 notes=()
date=$(date -u +%Y-%m-%d)

# note TEXT: in the table, and said now.
note() {
    notes+=("$1")
    say "$1"
}

# The tests that were started: name, passed, skipped and failed cases, seconds, what is to be said.
test_rows() {
    local file name
    for file in "$work"/*.status; do
        [ -f "$file" ] || continue
        name=$(basename "$file" .status)
        printf '| %s | %s |\n' "$name" "$(cat "$file")"
    done
}

write_table() {
    local note
    {
        printf '# The CUDA target on %s, %s\n\n' "${device:-no device}" "$date"
        [ -z "$quick" ] || printf '**A quick run: sizes are too small for the figures to say anything.**\n\n'
        printf -- '- tree: %s\n' "$(git describe --always --dirty 2>/dev/null || echo unknown)"
        [ ! -f "$build/version" ] || printf -- '- programs: packed from %s\n' "$(cat "$build/version")"
        [ ! -f "$work/system" ] || printf -- '- system: %s\n' "$(cat "$work/system")"
        for note in ${notes[@]+"${notes[@]}"}; do printf -- '- note: %s\n' "$note"; done
        printf -- '- all of it took %d s\n' "$SECONDS"
        if [ -f "$work/bench.md" ]; then
            echo
            cat "$work/bench.md"
            [ ! -f "$work/peers.md" ] || cat "$work/peers.md"
        fi
        if [ -n "$tests" ]; then
            printf '\n## Tests on the device\n\n| test | passed | skipped | failed | seconds | |\n|---|---|---|---|---|---|\n'
            test_rows
        fi
        if [ -s "$work/failures" ]; then
            printf '\n```\n'
            cat "$work/failures"
            printf '```\n'
        fi
    } >"$work/table.md"
    [ -z "$out" ] || { mkdir -p "$(dirname "$out")" && cp "$work/table.md" "$out"; }
    [ -z "$out" ] || [ ! -f "$work/bench.json" ] || cp "$work/bench.json" "${out%.md}.json"
}

finish() {
    trap - EXIT
    [ -n "$out" ] || out=$work/table-of-no-device.md
    write_table
    say "the table: $out"
    exit "$failed"
}
trap finish EXIT
trap 'failed=1; note "interrupted"; exit' INT TERM HUP

fail() {
    failed=1
    note "$1"
    exit
}

# ---- The machine ----

# Folders of NVIDIA's libraries that no loader's cache may know, after those that it does.
library_path() {
    local folder path=${LD_LIBRARY_PATH:-}
    for folder in "$build/lib" "${CUDA_HOME:-/usr/local/cuda}/lib64" /usr/local/nvidia/lib64 /usr/local/nvidia/lib \
        $("${FRAX_PYTHON:-python3}" -c 'import nvidia, os
for path in nvidia.__path__:
    for name in sorted(os.listdir(path)):
        print(os.path.join(path, name, "lib"))' 2>/dev/null); do
        [ ! -d "$folder" ] || path=$path${path:+:}$folder
    done
    echo "$path"
}

# run LOG SECONDS PROGRAM [ARGUMENT...]: within its time limit, with the libraries in reach.
run() {
    local log=$1 seconds=$2
    shift 2
    LD_LIBRARY_PATH=$libraries timeout -k 5 "$seconds" "$@" >"$log" 2>&1 </dev/null
}

find_device() {
    run "$work/devices.log" 60 "$build/frax" devices
    device=$(sed -n 's/^cuda:0 *yes *\(.*\), compute capability.*/\1/p' "$work/devices.log")
    [ -n "$device" ] || fail "no GPU that frax can use: $(grep -E '^cuda' "$work/devices.log" || tail -n 3 "$work/devices.log")"
    grep -qE '^cuda +yes' "$work/devices.log" || fail "frax cannot compile for it: $(grep -E '^cuda ' "$work/devices.log")"
    nvidia-smi --id=0 --query-gpu=name,driver_version,pstate,clocks.max.sm,clocks.max.mem,power.limit --format=csv,noheader \
        >"$work/system" 2>/dev/null || head -n 1 /proc/driver/nvidia/version >"$work/system" 2>/dev/null || rm -f "$work/system"
}

# Only what a device has measured, at full size, goes among the results.
choose_output() {
    local slug stand_in=''
    slug=$(tr '[:upper:]' '[:lower:]' <<<"$device" | tr -cs 'a-z0-9\n' - | sed 's/^-*//; s/-*$//')
    case "$device" in 'Fake GPU'*) stand_in=1 ;; esac
    if [ -n "$out" ]; then
        case "$(realpath -m "$out")" in
        "$PWD/bench/results/"*) [ -z "$stand_in" ] || { out=$work/table-of-the-stand-in.md; fail 'the device is a stand-in: its table is none of bench/results'; } ;;
        esac
    elif [ -n "$stand_in$quick" ] || [ -z "$bench" ]; then
        out=$work/gpu-$slug-$date.md
    else
        out=bench/results/gpu-$slug-$date.md
    fi
}

# ---- Tests ----

# count LOG WORD: cases of cmocka's summary, "[  PASSED  ] 8 test(s)."
count() { sed -n "s/^\[ *$2 *\] \([0-9]*\) test(s).*/\1/p" "$1" | tail -n 1; }

# run_test NAME PROGRAM SECONDS [VARIABLE=VALUE...]: leaves its row in NAME.status, and NAME.failed if it did.
run_test() {
    local name=$1 program=$2 seconds=$3 log=$work/$1.log start=$SECONDS code remark=''
    shift 3
    run "$log" "$seconds" env FRAX_TEST_GPU=1 FRAX_PROGRAM="$build/frax" TMPDIR="$work" XDG_CACHE_HOME="$work/cache" "$@" "$build/$program"
    code=$?
    [ "$code" -eq 0 ] || { touch "$work/$name.failed"; remark="**failed**, status $code"; }
    [ "$code" -ne 124 ] && [ "$code" -ne 137 ] || remark="**stopped after $seconds s**"
    printf '%d | %d | %d | %d | %s' "$(count "$log" PASSED)" "$(count "$log" SKIPPED)" "$(count "$log" FAILED)" \
        $((SECONDS - start)) "$remark" >"$work/$name.status.new"
    mv "$work/$name.status.new" "$work/$name.status"
}

run_tests() {
    local seconds program part parts all names=(runtime run fit cli object blas fft causal)
    parts=$(nproc)
    parts=$((parts > 12 ? 12 : parts))
    all=$parts
    seconds=$(limit $tests_seconds "$([ -n "$bench" ] && echo 150 || echo 10)")
    if [ -n "$quick" ]; then
        names=() parts=1 all=80
    fi
    say "tests, side by side, for at most $seconds s"
    for ((part = 0; part < parts; part++)); do
        run_test "test_cuda_values-$part" test_cuda_values "$seconds" "FRAX_TEST_PART=$part/$all" &
    done
    for program in ${names[@]+"${names[@]/#/test_cuda_}"} test_threads_cuda; do
        run_test "$program" "$program" "$seconds" &
    done
    wait
    if compgen -G "$work/*.failed" >/dev/null; then
        failed=1
        note "tests failed: $(cd "$work" && printf '%s ' *.failed)"
        grep -aE 'ERROR|FAILED|expected|error:' "$work"/test_*.log | sed "s|^$work/||" | head -n 60 >"$work/failures"
    fi
    write_table
}

# ---- The benchmark ----

run_bench() {
    local seconds code
    seconds=$(limit $bench_seconds 40)
    say "benchmark, for at most $seconds s"
    run "$work/bench.log" "$seconds" env TMPDIR="$work" "$build/frax_gpu_bench" $quick --table "$work/bench.md" --json "$work/bench.json"
    code=$?
    cat "$work/bench.log"
    case "$code" in
    0) ;;
    124 | 137) failed=1; note "the benchmark was stopped after $seconds s" ;;
    *) failed=1; note "the benchmark failed, status $code: $(grep -a 'frax_gpu_bench:' "$work/bench.log" | grep -av ' took ' | tail -n 1)" ;;
    esac
    write_table
}

# In Python's own surroundings: PyTorch brings its libraries.
run_peers() {
    local seconds python=${FRAX_PYTHON:-python3}
    [ -f "$work/bench.json" ] || return 0
    command -v "$python" >/dev/null || { note 'PyTorch: there is no Python here'; return 0; }
    seconds=$(limit $peers_seconds 5)
    say "PyTorch, for at most $seconds s"
    timeout -k 5 "$seconds" "$python" bench/gpu/peers_gpu.py $quick --data "$work/bench.json" --table "$work/peers.md" \
        --seconds $((seconds * 2 / 3)) >"$work/peers.log" 2>&1 </dev/null || note "PyTorch's part ended early: $(tail -n 1 "$work/peers.log")"
    grep -a "^|" "$work/peers.log"
}

# ---- All ----

if [ -z "$given_build" ]; then
    build_programs "$work/build.log" || fail "$problem"
fi
check_programs || fail "$problem"
libraries=$(library_path)
find_device
choose_output
say "$device; built after $SECONDS s"
write_table
[ -z "$tests" ] || run_tests
[ -z "$bench" ] || { run_bench; run_peers; }
exit
