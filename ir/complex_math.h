/* complex_math.h — complex numbers for special functions, as plain structures: their files are device code
 * too (cuda_special.c), where there is no <complex.h>. Products and quotients are for finite numbers, as with
 * GCC's -fcx-limited-range.
 */
#ifndef FRAX_COMPLEX_MATH_H
#define FRAX_COMPLEX_MATH_H

#ifndef FRAX_DEVICE
#include <complex.h>
#include <math.h>
#endif

typedef struct Complex {
    double re, im;
} Complex;

static inline Complex complex_of(double re, double im) {
    Complex z = {re, im};
    return z;
}

static inline Complex negated(Complex z) {
    return complex_of(-z.re, -z.im);
}

static inline Complex plus(Complex a, Complex b) {
    return complex_of(a.re + b.re, a.im + b.im);
}

static inline Complex minus(Complex a, Complex b) {
    return complex_of(a.re - b.re, a.im - b.im);
}

static inline Complex times(Complex a, Complex b) {
    return complex_of(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re);
}

static inline Complex scaled(double s, Complex z) {
    return complex_of(s * z.re, s * z.im);
}

static inline Complex over(Complex a, Complex b) {
    double size = b.re * b.re + b.im * b.im;
    return complex_of((a.re * b.re + a.im * b.im) / size, (a.im * b.re - a.re * b.im) / size);
}

/* The C library's is exact beside |z| = 1 too, which matters to no caller; the device has none. */
static inline Complex complex_log(Complex z) {
#ifdef FRAX_DEVICE
    return complex_of(log(hypot(z.re, z.im)), atan2(z.im, z.re));
#else
    double complex w = clog(CMPLX(z.re, z.im));
    return complex_of(creal(w), cimag(w));
#endif
}

#endif
