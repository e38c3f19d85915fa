/* fft_fallback.h — the library's own real transform, for builds without FFTW; used through fft.h. */
#ifndef FRAX_FFT_FALLBACK_H
#define FRAX_FFT_FALLBACK_H

#include "fft.h"

typedef struct Cx {
    double re, im;
} Cx;

Cx root_of_unity(int64_t t, int64_t n); /* e^{−2πi t/n}, 0 ≤ t < n, exactly rounded or nearly so */

typedef struct FallbackFft FallbackFft;

FallbackFft *fallback_fft_create(const FftShape *shape); /* NULL when out of memory */
void fallback_fft_destroy(FallbackFft *plan);
/* As fft_forward and fft_inverse; alignment does not matter. May be called from any number of threads. */
void fallback_fft_forward(FallbackFft *plan, const void *x, void *spectrum);
void fallback_fft_inverse(FallbackFft *plan, void *spectrum, void *x);

#endif
