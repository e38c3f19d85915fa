/* half.c — conversions of f16 and bf16, and access to elements of any dtype. See half.h.
 *
 * Both formats go through one pair of functions that work on the bits, so that a value is rounded only once
 * (by way of f32 it would be rounded twice: 1 + 2^-11 + 2^-40 would become a tie in f32 and then 1 in f16)
 * and so that the result does not depend on the rounding mode or on the processor's flush-to-zero setting.
 */
#include "half.h"
#include <string.h>

typedef struct Format {
    int mantissa;    /* stored bits of the significand */
    int bias;        /* of the exponent */
    int special;     /* exponent field of infinities and NaNs */
    double smallest; /* the least positive subnormal */
} Format;

static const Format f16 = {10, 15, 31, 0x1p-24};
static const Format bf16 = {7, 127, 255, 0x1p-133};

enum { F64_MANTISSA = 52, F64_BIAS = 1023, F64_SPECIAL = 2047 };

static double decode(Format f, uint16_t bits) {
    uint64_t sign = (uint64_t)(bits >> 15) << 63;
    int exponent = bits >> f.mantissa & f.special;
    uint64_t mantissa = bits & ((1u << f.mantissa) - 1);
    if (exponent == 0) return (sign ? -f.smallest : f.smallest) * (double)mantissa;

    uint64_t wide = mantissa << (F64_MANTISSA - f.mantissa);
    if (exponent < f.special)
        wide |= (uint64_t)(exponent - f.bias + F64_BIAS) << F64_MANTISSA;
    else
        wide |= (uint64_t)F64_SPECIAL << F64_MANTISSA | (uint64_t)(mantissa != 0) << (F64_MANTISSA - 1);
    wide |= sign;
    double v;
    memcpy(&v, &wide, sizeof v);
    return v;
}

/* significand / 2^shift, rounded to the nearest integer, ties to even. */
static uint64_t shift_rounded(uint64_t significand, int shift) {
    uint64_t kept = significand >> shift, rest = significand & ((UINT64_C(1) << shift) - 1);
    uint64_t half = UINT64_C(1) << (shift - 1);
    return kept + (rest > half || (rest == half && (kept & 1)));
}

static uint16_t encode(Format f, double v) {
    uint64_t wide;
    memcpy(&wide, &v, sizeof wide);
    uint16_t sign = (uint16_t)(wide >> 63 << 15), infinity = (uint16_t)(f.special << f.mantissa);
    int wide_exponent = (int)(wide >> F64_MANTISSA & F64_SPECIAL);
    uint64_t mantissa = wide & ((UINT64_C(1) << F64_MANTISSA) - 1);
    int shift = F64_MANTISSA - f.mantissa;
    if (wide_exponent == F64_SPECIAL) {
        uint16_t quiet = (uint16_t)((1u << (f.mantissa - 1)) | mantissa >> shift);
        return (uint16_t)(sign | infinity | (mantissa ? quiet : 0));
    }
    int exponent = wide_exponent - F64_BIAS + f.bias;
    if (exponent >= f.special) return sign | infinity;
    if (exponent < 1) shift += 1 - exponent, exponent = 1;
    if (shift > F64_MANTISSA + 1)
        return sign; /* below half of the least subnormal; takes f64's own with it */

    /* The significand's leading one adds 1 to the exponent field, and so does a carry out of rounding. */
    uint64_t significand = shift_rounded(mantissa | UINT64_C(1) << F64_MANTISSA, shift);
    return (uint16_t)(sign | (((uint64_t)(exponent - 1) << f.mantissa) + significand));
}

static int32_t saturate(double v) {
    if (v != v) return 0;
    if (v <= INT32_MIN) return INT32_MIN;
    return v >= INT32_MAX ? INT32_MAX : (int32_t)v;
}

double f16_to_f64(uint16_t bits) {
    return decode(f16, bits);
}

uint16_t f16_from_f64(double v) {
    return encode(f16, v);
}

double bf16_to_f64(uint16_t bits) {
    return decode(bf16, bits);
}

uint16_t bf16_from_f64(double v) {
    return encode(bf16, v);
}

double element_get(const void *data, FraxDType dtype, int64_t i) {
    switch (dtype) {
    case FRAX_F64: return ((const double *)data)[i];
    case FRAX_F32: return ((const float *)data)[i];
    case FRAX_BF16: return bf16_to_f64(((const uint16_t *)data)[i]);
    case FRAX_F16: return f16_to_f64(((const uint16_t *)data)[i]);
    case FRAX_I32: return ((const int32_t *)data)[i];
    case FRAX_BOOL: return ((const uint8_t *)data)[i] != 0;
    }
    return 0;
}

void element_set(void *data, FraxDType dtype, int64_t i, double v) {
    switch (dtype) {
    case FRAX_F64: ((double *)data)[i] = v; break;
    case FRAX_F32: ((float *)data)[i] = (float)v; break;
    case FRAX_BF16: ((uint16_t *)data)[i] = bf16_from_f64(v); break;
    case FRAX_F16: ((uint16_t *)data)[i] = f16_from_f64(v); break;
    case FRAX_I32: ((int32_t *)data)[i] = saturate(v); break;
    case FRAX_BOOL: ((uint8_t *)data)[i] = v != 0; break;
    }
}
