/* fft_long.h — the transform of one long line, cut into blocks that several threads share. Behind fft.h; only
 * in a build with FFTW, which transforms the short lines that a long one is made of.
 */
#ifndef FRAX_FFT_LONG_H
#define FRAX_FFT_LONG_H

#include "fft.h"

/* One axis of 2^17 points or more, half of which are rows·columns of about one size and not both odd, with
   factors 2 if there are fewer than 2^19: not for odd lengths, twice an odd one, and large prime factors. */
bool fft_long_suits(const FftShape *shape);

typedef struct LongFft LongFft;

/* Of one row. Plans with FFTW, whose planner is not thread-safe. */
FraxStatus fft_long_create(const FftShape *shape, LongFft **out, FraxError *err);
void fft_long_destroy(LongFft *fft);
/* As fft_forward and fft_inverse, in up to `threads` threads: the same bits for any number of them. */
void fft_long_forward(LongFft *fft, const void *x, void *spectrum, int threads);
void fft_long_inverse(LongFft *fft, void *spectrum, void *x, int threads);

#endif
