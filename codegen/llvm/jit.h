/* jit.h — from an LLVM module to machine code in memory. */
#ifndef FRAX_JIT_H
#define FRAX_JIT_H

#include "llvm_emitter.h"

/* Optimises the module and turns it into a relocatable object (or, with `assembly`, text); takes module and
   context over. The result is freed with mem_free. */
FraxStatus compile_module(LLVMContextRef context, LLVMModuleRef module, const HostTarget *target,
                          bool assembly, char **object, size_t *size, FraxError *err);
/* Optimised IR as text; takes module and context over. */
FraxStatus module_text(LLVMContextRef context, LLVMModuleRef module, const HostTarget *target, Text *out,
                       FraxError *err);

/* Machine code linked into this process. */
typedef struct JitCode JitCode;

/* Where generated code finds the functions of the runtime that it calls; NULL for an unknown name. */
typedef void *SymbolResolver(const char *name);

/* Links an object; names come from `resolve`, the mathematical functions, and the process. `debug`: register
   with gdb's JIT interface and append the functions to perf's map of this process. */
FraxStatus jit_link(const char *object, size_t size, SymbolResolver *resolve, bool debug, JitCode **code,
                    FraxError *err);
/* The address of a function, NULL if there is none of that name. */
void *jit_function(const JitCode *code, const char *name);
void jit_destroy(JitCode *code);

/* The version of LLVM in use, for cache keys: "22.1.8". */
const char *jit_llvm_version(char buffer[32]);

#endif
