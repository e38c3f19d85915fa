/* kernel_math.c — the special functions that kernels call lane by lane: of doubles alone, as emitted code
 * passes them. See kernel_math.h. Device code too: cuda_special.c. */
#include "kernel_math.h"
#include "special.h"

SPECIAL_FUNCTION double frax_kernel_lgamma(double x) {
    return log_gamma(x);
}

SPECIAL_FUNCTION double frax_kernel_polygamma(double n, double x) {
    return polygamma((int64_t)n, x);
}

SPECIAL_FUNCTION double frax_kernel_complex_lgamma(double n, double part, double x, double y) {
    return complex_lgamma(x, y, (int64_t)n, (Part)part);
}

SPECIAL_FUNCTION double frax_kernel_mittag_leffler(double n, double m, double alpha, double beta, double z) {
    return mittag_leffler(alpha, beta, z, (int64_t)n, (int64_t)m);
}
