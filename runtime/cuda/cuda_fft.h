/* cuda_fft.h — the launches of a CudaExecutable that are cuFFT's: a plan for each kind of transform, one work
 * area for all, since they follow one another. */
#ifndef FRAX_CUDA_FFT_H
#define FRAX_CUDA_FFT_H

#include "cuda_internal.h"

/* Nothing to do without transforms. First the library, before the text is compiled; FRAX_UNSUPPORTED where it
   is not there. */
FraxStatus cuda_fft_open(CudaExecutable *exe, FraxError *err);
/* Then plans, before the memory is made, which has cuda_fft_bytes for them. FRAX_UNSUPPORTED where cuFFT does
   not transform such rows. */
FraxStatus cuda_fft_create(CudaExecutable *exe, FraxError *err);
size_t cuda_fft_bytes(const CudaExecutable *exe);
/* Gives the plans the work area. */
FraxStatus cuda_fft_place(CudaExecutable *exe, CudaAddress work, FraxError *err);
void cuda_fft_destroy(CudaExecutable *exe);

FraxStatus cuda_fft_launch(CudaExecutable *exe, size_t launch, FraxError *err);

#endif
