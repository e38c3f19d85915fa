/* cpus.h — the processors that code can be generated for by name, besides native and generic. */
#ifndef FRAX_CPUS_H
#define FRAX_CPUS_H

/* Name, beginning and whole of LLVM's triple, bytes of a vector, letter of the vector function ABI,
   instructions between f16 and f32. */
#define CPUS(X)                                                                                              \
    X("x86-64", "x86_64", "x86_64-unknown-linux-gnu", 16, 'b', false)                                        \
    X("x86-64-v2", "x86_64", "x86_64-unknown-linux-gnu", 16, 'b', false)                                     \
    X("x86-64-v3", "x86_64", "x86_64-unknown-linux-gnu", 32, 'd', true)                                      \
    X("x86-64-v4", "x86_64", "x86_64-unknown-linux-gnu", 64, 'e', true)                                      \
    X("aarch64", "aarch64", "aarch64-unknown-linux-gnu", 16, 'n', true)

/* ", x86-64, x86-64-v2 …" */
#define CPU_LISTED(name, architecture, triple, vector_bytes, vector_isa, converts_f16) ", " name
#define CPUS_LISTED                                                                    CPUS(CPU_LISTED)

#endif
