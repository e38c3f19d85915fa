/* cuda_blas.h — the launches of an executable that are cuBLASLt's: its handle, and for each product the
 * layouts of its matrices and the algorithm, all settled when the executable is made. */
#ifndef FRAX_CUDA_BLAS_H
#define FRAX_CUDA_BLAS_H

#include "cuda_internal.h"

/* Both do nothing without products. First the library, which is a large one: opened only now, and before the
   text is compiled; FRAX_UNSUPPORTED where it is not there. */
FraxStatus cuda_blas_open(CudaExecutable *exe, FraxError *err);
/* Then the products, when the executable's memory is there: how addresses are aligned decides on algorithms.
   FRAX_MEMORY where there is no room for the library's workspace; FRAX_UNSUPPORTED where it has no algorithm
   for a product. */
FraxStatus cuda_blas_create(CudaExecutable *exe, FraxError *err);
void cuda_blas_destroy(CudaExecutable *exe);
/* Of CudaProgram.launches, of kind CUDA_PRODUCT; onto the executable's stream. */
FraxStatus cuda_blas_launch(const CudaExecutable *exe, size_t launch, FraxError *err);
/* Memory of the device beside the executable's. */
size_t cuda_blas_bytes(const CudaExecutable *exe);

#endif
