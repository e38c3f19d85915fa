/* blas.h — matrix products of an external CBLAS. */
#ifndef FRAX_BLAS_H
#define FRAX_BLAS_H

#include "base.h"

/* C = alpha·op(A)·op(B) + beta·C, row-major; op(A) is m×k and op(B) k×n, each stored transposed where ta or
   tb say so. lda, ldb and ldc are row lengths in elements as stored. dtype f64 or f32; all numbers ≤ INT_MAX.
 */
typedef struct Gemm {
    FraxDType dtype;
    bool ta, tb;
    int64_t m, n, k;
    double alpha, beta;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc;
} Gemm;

void gemm(const Gemm *g);
/* How many threads each later gemm may use, in the whole process; without effect where the library has no
   such setting. */
void blas_set_threads(int threads);

#endif
