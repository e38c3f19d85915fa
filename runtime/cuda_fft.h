/* cuda_fft.h — the launches of a CudaExecutable that are cuFFT's: a plan for each kind of transform, one work
 * area for all, since they follow one another. */
#ifndef FRAX_CUDA_FFT_H
#define FRAX_CUDA_FFT_H

#include "cuda_internal.h"

/* Plans for all launches, if any are cuFFT's; before the memory is made, which has cuda_fft_bytes for them.
 */
FraxStatus cuda_fft_create(CudaExecutable *exe, FraxError *err);
size_t cuda_fft_bytes(const CudaExecutable *exe);
/* Gives the plans the work area and the stream. */
FraxStatus cuda_fft_place(CudaExecutable *exe, CudaAddress work, FraxError *err);
void cuda_fft_destroy(CudaExecutable *exe);

FraxStatus cuda_fft_launch(CudaExecutable *exe, size_t launch, FraxError *err);

#endif
