/* device_math.h — what the sources of the special functions have from headers elsewhere, for device code,
 * which has none: the build puts this text before theirs (cuda_special.c). It is C11 and CUDA C++.
 */
#define FRAX_DEVICE      1
#define SPECIAL_FUNCTION static __device__
#define COUNT(array)     (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)        ((a) < (b) ? (a) : (b))
#define FOR_EACH_VECTOR_WIDTH
#define VECTORISED
#ifndef INFINITY
#define INFINITY INF64
#endif
#ifndef NAN
#define NAN NAN64
#endif
#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif
#ifndef M_1_PI
#define M_1_PI 0.31830988618379067154
#endif
#ifdef __CUDACC__
#define int64_t long long
#define ONCE    SPECIAL_FUNCTION __noinline__ /* each is as long as all that a kernel does besides */
#else
#define ONCE SPECIAL_FUNCTION
#endif

ONCE double frax_kernel_lgamma(double x);
ONCE double frax_kernel_polygamma(double n, double x);
ONCE double frax_kernel_complex_lgamma(double n, double part, double x, double y);
ONCE double frax_kernel_mittag_leffler(double n, double m, double alpha, double beta, double z);
