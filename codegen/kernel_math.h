/* kernel_math.h — special functions by the names that emitted code calls; see special.h for what they are. */
#ifndef FRAX_KERNEL_MATH_H
#define FRAX_KERNEL_MATH_H

double frax_kernel_lgamma(double x);
double frax_kernel_polygamma(double n, double x);
double frax_kernel_complex_lgamma(double n, double part, double x, double y);
double frax_kernel_mittag_leffler(double n, double m, double alpha, double beta, double z);

#endif
