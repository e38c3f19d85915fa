/* object_level.c — which level of x86-64 the processor has, 1 … 4, as assembly that goes into objects of
 * several levels (object_support.c). Asked once, by the loader: the function calls nothing and needs no
 * memory that is not there yet. */
#if defined(__x86_64__)
#include <cpuid.h>

int frax_kernel_cpu_level(void);

static int has(unsigned value, unsigned bits) {
    return (value & bits) == bits;
}

int frax_kernel_cpu_level(void) {
    unsigned a, b, c, d, eax7, ebx7 = 0, extended = 0, saved = 0, high;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 1;
    if (!__get_cpuid_count(7, 0, &eax7, &ebx7, &a, &b)) ebx7 = 0;
    if (!__get_cpuid(0x80000001, &a, &b, &extended, &high)) extended = 0;
    if (!has(c, bit_SSE3 | bit_SSSE3 | bit_SSE4_1 | bit_SSE4_2 | bit_POPCNT | bit_CMPXCHG16B) ||
        !has(extended, bit_LAHF_LM))
        return 1;
    if (c & bit_OSXSAVE) __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if (!has(c, bit_AVX | bit_F16C | bit_FMA | bit_MOVBE) || !has(ebx7, bit_AVX2 | bit_BMI | bit_BMI2) ||
        !has(extended, bit_LZCNT) || !has(saved, 0x6))
        return 2;
    if (!has(ebx7, bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL) ||
        !has(saved, 0xe6))
        return 3;
    return 4;
}
#endif
