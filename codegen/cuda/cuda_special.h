/* cuda_special.h — the special functions as device code, for CUDA texts that call them. */
#ifndef FRAX_CUDA_SPECIAL_H
#define FRAX_CUDA_SPECIAL_H

#include "base.h"

/* Definitions of frax_kernel_lgamma and the others of kernel_math.h, after the prelude of a text and before
   its kernels. */
void cuda_special_text(Text *out);

#endif
