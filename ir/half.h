/* half.h — the two 16-bit floating-point formats, and access to one element of an array of any dtype.
 *
 * f16 is IEEE 754 binary16; bf16 is binary32 cut to 8 significant bits. Both convert to f64 exactly; back
 * they are rounded once, to the nearest with ties to even, gradually into the subnormals and to infinity
 * beyond the largest finite number. NaNs keep their sign and leading payload bits and always become quiet.
 */
#ifndef FRAX_HALF_H
#define FRAX_HALF_H

#include "frax.h"

double f16_to_f64(uint16_t bits);
uint16_t f16_from_f64(double v);
double bf16_to_f64(uint16_t bits);
uint16_t bf16_from_f64(double v);

/* Element i of a dense array. Bool reads as 0 or 1. */
double element_get(const void *data, FraxDType dtype, int64_t i);

/* Stores v as element i: floats rounded to nearest even; i32 truncated toward zero, saturated at its ends, 0
   for NaN; bool is v != 0 (so NaN is true, as in C and NumPy). */
void element_set(void *data, FraxDType dtype, int64_t i, double v);

#endif
