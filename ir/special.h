/* special.h — special functions on f64 scalars: what the pointwise ops of these names mean, in every target.
 * All are pure and may run in many threads. Outside its domain a function gives NaN.
 */
#ifndef FRAX_SPECIAL_H
#define FRAX_SPECIAL_H

#include "ir.h"

#define SPECIAL_FUNCTION /* empty; in device code: static, for the device */

/* log |Γ(x)| */
double log_gamma(double x);
/* ψ^{(n)}(x), 0 ≤ n ≤ MAX_POLYGAMMA; NaN at the poles 0, −1, −2, … */
double polygamma(int64_t n, double x);
/* Real or imaginary part of the n-th derivative of log Γ at x + iy, 0 ≤ n ≤ MAX_POLYGAMMA. log Γ is continued
   from x > 0 to the plane without the negative axis, which belongs to the upper half (y = −0: to the lower).
   At the poles of Γ the real part of log Γ is +∞, and the derivatives are NaN. */
double complex_lgamma(double x, double y, int64_t n, Part part);
/* ∂^n/∂z^n ∂^m/∂β^m E_{α,β}(z), E_{α,β}(z) = Σ z^k / Γ(αk + β), for 0 < α ≤ 2, |β| ≤ 1000 and
   any real z; 0 ≤ n, m ≤ MAX_MITTAG_LEFFLER. Relative or absolute error below 1e-12, relative where
   |z| ≤ 1/4 and m = 0, unless larger terms of the power series cancel; +∞ or −∞ beyond the range of f64. */
double mittag_leffler(double alpha, double beta, double z, int64_t n, int64_t m);

#endif
