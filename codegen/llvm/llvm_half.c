/* llvm_half.c — 16-bit floats in registers: see llvm_half.h.
 *
 * LLVM's own conversions become calls of libgcc where the processor has no instructions for them: an object
 * would need more than libc and libm, and each lane would be a call. Both ways round to nearest even, keep
 * subnormals and infinities, and make a NaN quiet with the upper bits of its payload. No step takes or gives
 * an f32 below 2^-126 whose value counts, so that flushing subnormals to zero changes nothing.
 */
#include "llvm_half.h"
#include "llvm_internal.h"

/* A builder with the types of as many lanes as the value at hand has. */
typedef struct Lanes {
    LLVMBuilderRef b;
    LLVMTypeRef i16, i32, f32;
} Lanes;

static Lanes lanes_of(LLVMBuilderRef b, LLVMValueRef value) {
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMContextRef context = LLVMGetTypeContext(type);
    return (Lanes){b, llvm_like(LLVMInt16TypeInContext(context), type),
                   llvm_like(LLVMInt32TypeInContext(context), type),
                   llvm_like(LLVMFloatTypeInContext(context), type)};
}

static LLVMValueRef number(const Lanes *l, uint32_t value) {
    LLVMContextRef context = LLVMGetTypeContext(l->i32);
    return llvm_all_lanes(l->i32, LLVMConstInt(LLVMInt32TypeInContext(context), value, 0));
}

static LLVMValueRef real(const Lanes *l, double value) {
    LLVMContextRef context = LLVMGetTypeContext(l->f32);
    return llvm_all_lanes(l->f32, LLVMConstReal(LLVMFloatTypeInContext(context), value));
}

static LLVMValueRef bits_of(const Lanes *l, LLVMValueRef value) {
    return LLVMBuildBitCast(l->b, value, l->i32, "");
}

static LLVMValueRef keep(const Lanes *l, LLVMValueRef v, uint32_t mask) {
    return LLVMBuildAnd(l->b, v, number(l, mask), "");
}

static LLVMValueRef add(const Lanes *l, LLVMValueRef v, uint32_t more) {
    return LLVMBuildAdd(l->b, v, number(l, more), "");
}

/* yes where v < limit; both below 2^31. */
static LLVMValueRef below(const Lanes *l, LLVMValueRef v, uint32_t limit, LLVMValueRef yes, LLVMValueRef no) {
    return LLVMBuildSelect(l->b, LLVMBuildICmp(l->b, LLVMIntSLT, v, number(l, limit), ""), yes, no, "");
}

/* v / 2^drop, to nearest, ties to even. */
static LLVMValueRef shift_rounded(const Lanes *l, LLVMValueRef v, unsigned drop) {
    LLVMValueRef odd = keep(l, LLVMBuildLShr(l->b, v, number(l, drop), ""), 1);
    LLVMValueRef sum = LLVMBuildAdd(l->b, v, add(l, odd, (1u << (drop - 1)) - 1), "");
    return LLVMBuildLShr(l->b, sum, number(l, drop), "");
}

/* ---- f16: 1 + 5 + 10 bits, exponents biased by 15; f32: 1 + 8 + 23, by 127 ---- */

enum { F16_INFINITY = 0x7c00, F32_INFINITY = 0x7f800000, REBIAS = (127 - 15) << 23, DROP = 23 - 10 };

LLVMValueRef llvm_from_f16(LLVMBuilderRef b, LLVMValueRef bits) {
    Lanes l = lanes_of(b, bits);
    LLVMValueRef wide = LLVMBuildZExt(b, bits, l.i32, ""), magnitude = keep(&l, wide, 0x7fff);
    LLVMValueRef shifted = LLVMBuildShl(b, magnitude, number(&l, DROP), "");
    /* Subnormal: a count of 2^-24, which f32 holds as a normal number. */
    LLVMValueRef count = LLVMBuildFMul(b, LLVMBuildSIToFP(b, magnitude, l.f32, ""), real(&l, 0x1p-24), "");
    LLVMValueRef infinity = add(&l, shifted, 2 * REBIAS);
    LLVMValueRef quiet = LLVMBuildOr(b, infinity, number(&l, 0x400000), "");
    LLVMValueRef special = below(&l, magnitude, F16_INFINITY + 1, infinity, quiet);
    LLVMValueRef finite = below(&l, magnitude, F16_INFINITY, add(&l, shifted, REBIAS), special);
    LLVMValueRef result = below(&l, magnitude, 0x400, bits_of(&l, count), finite);
    LLVMValueRef sign = LLVMBuildShl(b, keep(&l, wide, 0x8000), number(&l, 16), "");
    return LLVMBuildBitCast(b, LLVMBuildOr(b, result, sign, ""), l.f32, "");
}

LLVMValueRef llvm_to_f16(LLVMBuilderRef b, LLVMValueRef value) {
    const uint32_t overflow = 0x47800000, least_normal = 0x38800000, half = 0x3f000000; /* 2^16, 2^-14, 1/2 */
    Lanes l = lanes_of(b, value);
    LLVMValueRef bits = bits_of(&l, value), magnitude = keep(&l, bits, 0x7fffffff);
    LLVMValueRef normal = shift_rounded(&l, LLVMBuildSub(b, magnitude, number(&l, REBIAS), ""), DROP);
    /* Subnormal: numbers beside 1/2 are 2^-24 apart, so the sum rounds to a count of those. */
    LLVMValueRef absolute = LLVMBuildBitCast(b, magnitude, l.f32, "");
    LLVMValueRef sum = bits_of(&l, LLVMBuildFAdd(b, absolute, real(&l, 0.5), ""));
    LLVMValueRef subnormal = LLVMBuildSub(b, sum, number(&l, half), "");
    LLVMValueRef payload = keep(&l, LLVMBuildLShr(b, magnitude, number(&l, DROP), ""), 0x3ff);
    LLVMValueRef nan = LLVMBuildOr(b, payload, number(&l, F16_INFINITY | 0x200), "");
    LLVMValueRef special = below(&l, magnitude, F32_INFINITY + 1, number(&l, F16_INFINITY), nan);
    LLVMValueRef large = below(&l, magnitude, overflow, normal, special);
    LLVMValueRef result = below(&l, magnitude, least_normal, subnormal, large);
    LLVMValueRef sign = keep(&l, LLVMBuildLShr(b, bits, number(&l, 16), ""), 0x8000);
    return LLVMBuildTrunc(b, LLVMBuildOr(b, result, sign, ""), l.i16, "");
}

/* ---- bf16: the upper half of an f32 ---- */

LLVMValueRef llvm_from_bf16(LLVMBuilderRef b, LLVMValueRef bits) {
    Lanes l = lanes_of(b, bits);
    LLVMValueRef wide = LLVMBuildShl(b, LLVMBuildZExt(b, bits, l.i32, ""), number(&l, 16), "");
    return LLVMBuildBitCast(b, wide, l.f32, "");
}

LLVMValueRef llvm_to_bf16(LLVMBuilderRef b, LLVMValueRef value) {
    Lanes l = lanes_of(b, value);
    LLVMValueRef bits = bits_of(&l, value), nan = LLVMBuildFCmp(b, LLVMRealUNO, value, value, "");
    LLVMValueRef quiet = LLVMBuildLShr(b, LLVMBuildOr(b, bits, number(&l, 0x400000), ""), number(&l, 16), "");
    LLVMValueRef chosen = LLVMBuildSelect(b, nan, quiet, shift_rounded(&l, bits, 16), "");
    return LLVMBuildTrunc(b, chosen, l.i16, "");
}
