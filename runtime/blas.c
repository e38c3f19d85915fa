/* blas.c — see blas.h. The thread count is an extension of each library, looked up when frax is linked:
 * OpenBLAS and BLIS are known; with another library the weak symbols stay NULL.
 */
#include "blas.h"
#include <cblas.h>

__attribute__((weak)) extern void openblas_set_num_threads(int threads);
__attribute__((weak)) extern void bli_thread_set_num_threads(long threads);

void blas_set_threads(int threads) {
    if (openblas_set_num_threads) openblas_set_num_threads(threads);
    if (bli_thread_set_num_threads) bli_thread_set_num_threads(threads);
}

void gemm(const Gemm *g) {
    int m = (int)g->m, n = (int)g->n, k = (int)g->k;
    int lda = (int)g->lda, ldb = (int)g->ldb, ldc = (int)g->ldc;
    int ta = g->ta ? CblasTrans : CblasNoTrans, tb = g->tb ? CblasTrans : CblasNoTrans;
    if (g->dtype == FRAX_F64)
        cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, g->alpha, g->a, lda, g->b, ldb, g->beta, g->c, ldc);
    else
        cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, (float)g->alpha, g->a, lda, g->b, ldb, (float)g->beta,
                    g->c, ldc);
}
