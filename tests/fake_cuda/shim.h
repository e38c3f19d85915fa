/* shim.h — what CUDA C has and C has not, for text that the fake NVRTC compiles as C (fake_cuda.h). */
#ifndef FRAX_TESTS_SHIM_H
#define FRAX_TESTS_SHIM_H

#include "fake_cuda.h"
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define __global__ __attribute__((visibility("default")))
#define __device__
#define __constant__
#define __host__
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n)    __attribute__((aligned(n)))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__    __attribute__((noinline))

static const FakeBlock *fake_running;
static FakeIndex threadIdx, blockIdx, blockDim, gridDim;

#define __syncthreads() fake_running->sync_threads(__LINE__)
#define FAKE_FULL_MASK  0xffffffffu
#define __syncwarp(...) fake_running->sync_warp(FAKE_FULL_MASK __VA_OPT__(&(__VA_ARGS__)), __LINE__)
#define FAKE_SHUFFLE(mask, v, lane)                                                                          \
    ({                                                                                                       \
        __typeof__((v) + 0) fake_value = (v);                                                                \
        fake_running->shuffle(&fake_value, sizeof fake_value, (mask), (lane), __LINE__);                     \
        fake_value;                                                                                          \
    })
#define FAKE_LANE                      ((int)(threadIdx.x % FAKE_WARP))
#define __shfl_sync(mask, v, lane)     FAKE_SHUFFLE(mask, v, (lane) % FAKE_WARP)
#define __shfl_xor_sync(mask, v, bits) FAKE_SHUFFLE(mask, v, FAKE_LANE ^ (bits))
#define __shfl_down_sync(mask, v, n)   FAKE_SHUFFLE(mask, v, FAKE_LANE + (int)(n))
#define __shfl_up_sync(mask, v, n)     FAKE_SHUFFLE(mask, v, FAKE_LANE - (int)(n))

/* ---- Bits of numbers ---- */

#define FAKE_BITS(name, from, to)                                                                            \
    static inline to name(from x) {                                                                          \
        to y;                                                                                                \
        memcpy(&y, &x, sizeof y);                                                                            \
        return y;                                                                                            \
    }
FAKE_BITS(__float_as_uint, float, unsigned)
FAKE_BITS(__uint_as_float, unsigned, float)
FAKE_BITS(__float_as_int, float, int)
FAKE_BITS(__int_as_float, int, float)
FAKE_BITS(__double_as_longlong, double, long long)
FAKE_BITS(__longlong_as_double, long long, double)

/* ---- Functions ---- */

#define __ldg(p)  (*(p))
#define __fmaf_rn fmaf
#define __fma_rn  fma

/* Rounded by themselves, whatever the compiler contracts. */
#if defined(__x86_64__)
#define FAKE_KEEP(r) __asm__("" : "+x"(r))
#else
#define FAKE_KEEP(r) __asm__("" : "+w"(r))
#endif
#define FAKE_ROUNDED(name, type, op)                                                                         \
    static inline type name(type a, type b) {                                                                \
        type r = a op b;                                                                                     \
        FAKE_KEEP(r);                                                                                        \
        return r;                                                                                            \
    }
FAKE_ROUNDED(__fadd_rn, float, +)
FAKE_ROUNDED(__fsub_rn, float, -)
FAKE_ROUNDED(__fmul_rn, float, *)
FAKE_ROUNDED(__dadd_rn, double, +)
FAKE_ROUNDED(__dsub_rn, double, -)
FAKE_ROUNDED(__dmul_rn, double, *)

static inline float rsqrtf(float x) {
    return 1 / sqrtf(x);
}
static inline double rsqrt(double x) {
    return 1 / sqrt(x);
}
static inline double sinpi(double x) {
    double r = fmod(x, 2);
    return r == 0.5 || r == -1.5   ? 1
           : r == -0.5 || r == 1.5 ? -1
           : fmod(r, 1) == 0       ? 0
                                   : sin(3.14159265358979323846 * r);
}
static inline double cospi(double x) {
    return sinpi(fmod(fabs(x), 2) + 0.5);
}
static inline float sinpif(float x) {
    return (float)sinpi((double)x);
}
static inline float cospif(float x) {
    return (float)cospi((double)x);
}
static inline void sincospif(float x, float *s, float *c) {
    *s = sinpif(x);
    *c = cospif(x);
}
static inline void sincospi(double x, double *s, double *c) {
    *s = sinpi(x);
    *c = cospi(x);
}

/* ---- Vectors ---- */

typedef unsigned char uchar;
typedef unsigned short ushort;

#define FAKE_VECTORS(type)                                                                                   \
    typedef struct type##2 {                                                                                 \
        type x, y;                                                                                           \
    }                                                                                                        \
    __align__(2 * sizeof(type)) type##2;                                                                     \
    typedef struct type##4 {                                                                                 \
        type x, y, z, w;                                                                                     \
    }                                                                                                        \
    __align__(sizeof(type) < 4 ? 4 * sizeof(type) : 16) type##4;                                             \
    static inline type##2 make_##type##2(type x, type y) {                                                   \
        return (type##2){x, y};                                                                              \
    }                                                                                                        \
    static inline type##4 make_##type##4(type x, type y, type z, type w) {                                   \
        return (type##4){x, y, z, w};                                                                        \
    }
FAKE_VECTORS(float)
FAKE_VECTORS(int)
FAKE_VECTORS(double)
FAKE_VECTORS(uchar)
FAKE_VECTORS(ushort)

/* Where a GPU would fault the driver is told, and memory elsewhere is met. */
static inline void *fake_word(const void *address, size_t alignment) {
    static char elsewhere[32] __align__(32);
    if ((uintptr_t)address % alignment == 0) return (void *)address;
    fake_running->misaligned();
    return elsewhere;
}
#define WORD(type, address) (*(type *)fake_word((address), _Alignof(type)))

#endif
