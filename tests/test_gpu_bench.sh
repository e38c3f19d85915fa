#!/usr/bin/env bash
# test_gpu_bench.sh — bench/gpu.sh goes through all its phases: on the stand-ins of fake_cuda/, at sizes that say
# nothing. Its table says that the device is none, and stands nowhere among the results; a failed test, a wrong option
# and a machine without a GPU are told.
set -euo pipefail

# Sanitizers multiply the stand-ins' minutes; the other tests of CUDA run under them.
[ -z "${ASAN_OPTIONS:-}" ] || { echo 'skipped: too slow under the sanitizers'; exit 77; }

build=$(dirname "$FRAX_PROGRAM")
folder=$(mktemp -d "${TMPDIR:-/tmp}/frax-gpu-XXXXXX")
trap 'rm -rf "$folder"' EXIT
export FRAX_CUDA_DRIVER=$build/fake_cuda/libcuda.so.1 FRAX_NVRTC=$build/fake_cuda/libnvrtc.so.13
export FRAX_CUBLASLT=$build/fake_cuda/libcublasLt.so.13 FRAX_CUFFT=$build/fake_cuda/libcufft.so.12
for program in frax frax_gpu_bench test_cuda_runtime test_cuda_run test_cuda_fit test_cuda_cli test_cuda_object \
    test_cuda_blas test_cuda_fft test_cuda_causal test_threads_cuda test_cuda_values; do
    ln -s "$build/$program" "$folder/$program" # logs stay out of the build
done

die() {
    echo "$*"
    exit 1
}

# says TEXT...: all are in the table.
says() {
    local text
    for text in "$@"; do
        grep -qF -e "$text" "$folder/table.md" || { cat "$folder/table.md"; die "the table lacks: $text"; }
    done
}

# expect STATUS ARGUMENT...: bench/gpu.sh ends so.
expect() {
    local status=0 expected=$1
    shift
    bench/gpu.sh "$@" >"$folder/log" 2>&1 || status=$?
    [ "$status" -eq "$expected" ] || { cat "$folder/log"; die "gpu.sh $*: status $status, expected $expected"; }
}

expect 0 --build "$folder" --quick --out "$folder/table.md"
says 'The device is the stand-in of tests/fake_cuda' 'A quick run' '| copy on the device, cuMemcpyDtoD | ' \
    '| derivative, forward, 2x16384 f32, of the copy bandwidth | ' 'cuFFT r2c, multiply, c2r: ' \
    '| compiling, from the cache | ' '| training step, deep classifier, 8x64 f32, captured | ' 'against torch.compile | ' \
    '| test_threads_cuda | 2 | 0 | 0 | ' '| test_cuda_values-0 | 6 | 0 | 0 | '
grep -q '"stand_in":.*true' "$folder/table.json" || die 'the JSON does not say what the device is'
[ -z "$(git status --porcelain bench/results 2>/dev/null)" ] || die 'something was written to bench/results'

# A test that fails, and a driver that is not there.
rm "$folder/test_threads_cuda"
printf '#!/bin/sh\necho "ERROR: it fails"\nexit 1\n' >"$folder/test_threads_cuda"
chmod +x "$folder/test_threads_cuda"
expect 1 --build "$folder" --quick --tests-only --out "$folder/table.md"
says '- note: tests failed: test_threads_cuda.failed' '**failed**, status 1' 'ERROR: it fails'
FRAX_CUDA_DRIVER=/nowhere/libcuda.so.1 expect 1 --build "$folder" --quick --out "$folder/table.md"
says 'no GPU that frax can use' 'names /nowhere/libcuda.so.1, which cannot be opened'
rm "$folder/frax_gpu_bench"
expect 1 --build "$folder" --out "$folder/table.md"
says 'has no program frax_gpu_bench'
expect 1 --build "$build" --quick --tests-only --out bench/results/none.md
[ ! -e bench/results/none.md ] || die 'a stand-in is among the results'
expect 2 --quack
echo 'bench/gpu.sh: all phases, on the stand-ins'
