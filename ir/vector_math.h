/* vector_math.h — how loops over elementary functions are compiled: for three vector widths, the widest that
 * the processor has being chosen when the program is loaded, and with glibc's vector math library (libmvec,
 * at most 4 units in the last place) in the place of scalar functions. Without a library that has them, the
 * scalar functions are called. CMakeLists.txt lists the files that have such loops.
 */
#ifndef FRAX_VECTOR_MATH_H
#define FRAX_VECTOR_MATH_H

#include <math.h>

/* Sanitizers cannot instrument the function that chooses, which runs before they are ready. */
#if defined(__x86_64__) && defined(__linux__) && __GNUC__ >= 12 && !defined(__clang__) &&                    \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(FRAX_ONE_VECTOR_WIDTH)
#define FOR_EACH_VECTOR_WIDTH __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_VECTOR_WIDTH
#endif

#define VECTORISED _Pragma("omp simd")

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#if __GLIBC_PREREQ(2, 35)
#define VECTOR_MATH(X)  X(exp) X(log) X(sin) X(cos) X(expm1) X(log1p) X(tanh) X(erf)
#define VECTOR_MATH2(X) X(pow) X(atan2)
#elif __GLIBC_PREREQ(2, 22)
#define VECTOR_MATH(X)  X(exp) X(log) X(sin) X(cos)
#define VECTOR_MATH2(X) X(pow)
#endif
#endif

#ifdef VECTOR_MATH
#define DECLARE(name)                                                                                        \
    __attribute__((simd("notinbranch"))) double name(double);                                                \
    __attribute__((simd("notinbranch"))) float name##f(float);
VECTOR_MATH(DECLARE)
#undef DECLARE
#define DECLARE(name)                                                                                        \
    __attribute__((simd("notinbranch"))) double name(double, double);                                        \
    __attribute__((simd("notinbranch"))) float name##f(float, float);
VECTOR_MATH2(DECLARE)
#undef DECLARE
#endif

#endif
