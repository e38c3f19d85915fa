/* fft.h — real transforms of rows or boxes through FFTW (or, in a build without it, our own fallback).
 *
 * A plan is made once (thread-safe; planning may measure) and can be executed from any number of threads.
 * Plans are shared: asking again for the same transform gives the same plan. They live as long as the
 * process.
 */
#ifndef FRAX_FFT_H
#define FRAX_FFT_H

#include "fft_generator.h"

typedef struct FftPlan FftPlan;

/* Both directions of one transform. Input and output of each are dense, 16-byte aligned and distinct; a
   spectrum is interleaved complex, dims[last]/2+1 bins. A call runs on the calling thread alone, but for what
   fft_allow_threads says. */
FraxStatus fft_plan(const FftShape *shape, const FftPlan **plan, FraxError *err);
/* Leaves x as it is. */
void fft_forward(const FftPlan *plan, const void *x, void *spectrum);
/* Unnormalised: fft_inverse(fft_forward(x)) = n·x. Destroys `spectrum`. The imaginary parts of the DC and
   Nyquist bins are ignored. */
void fft_inverse(const FftPlan *plan, void *spectrum, void *x);

/* Is one row so long that several threads can share its transform? Each row is then transformed by itself. */
bool fft_is_long(const FftShape *shape);
/* Threads that transforms of long rows may use when called from this thread, from now on; 1 at first. The
   result is the same bits for any number of them. */
void fft_allow_threads(int threads);

/* What planning has learnt by measuring, as text to be kept between processes; empty without FFTW. A damaged
   text is refused (false) and does no harm. */
void fft_wisdom_export(Text *out);
bool fft_wisdom_import(const char *text);

#endif
