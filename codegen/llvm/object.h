/* object.h — a program as an object file that stands by itself: what is emitted besides the kernels.
 *
 * The object has two functions of C, named after a prefix,
 *
 *     size_t PREFIX_workspace_bytes(void);
 *     int PREFIX_run(const void *const args[], void *const outs[], void *workspace);
 *
 * tables as constants, and nothing else: no variables, no allocation, no calls but of libm (and of OpenMP's
 * runtime, where threads are asked for).
 */
#ifndef FRAX_OBJECT_H
#define FRAX_OBJECT_H

#include "program.h"

/* What PREFIX_run returns. */
enum {
    OBJECT_OK = 0,
    OBJECT_NULL = 1,        /* a pointer is NULL */
    OBJECT_MISALIGNED = 2,  /* a buffer is not aligned to its elements, or the workspace not to 64 bytes */
    OBJECT_FIRST_CHECK = 16 /* + i: the graph's i-th guarded value is out of its range */
};

typedef struct ObjectEntry {
    const char *run, *workspace_bytes; /* names of the two functions; the latter NULL: not wanted */
    const size_t *order;               /* args[order[i]] is the graph's i-th input */
    const char *statics;               /* the program's static memory, program->static_bytes of it */
    int threads;                       /* 1: no calls of OpenMP's runtime */
    size_t run_bytes;                  /* of the workspace */
} ObjectEntry;

/* Completes the module of program_emit. FRAX_UNSUPPORTED where a kernel calls what does not exist outside of
   frax. */
FraxStatus object_emit_entry(LLVMContextRef context, LLVMModuleRef module, const Program *program,
                             const ObjectEntry *entry, FraxError *err);
/* A constant of the module that C sees as `const unsigned char name[bytes]`, 64-byte aligned. */
void object_emit_constant(LLVMContextRef context, LLVMModuleRef module, const char *name, const void *data,
                          size_t bytes);

/* One module of several, which are taken over: each for another level of x86-64, 2 … 4, its entry called
   run_vN; `run` is resolved to the best one when the object is loaded. */
FraxStatus object_merge_levels(LLVMContextRef *contexts, LLVMModuleRef *modules, const HostTarget *targets,
                               const int *levels, int count, const char *run, LLVMContextRef *context,
                               LLVMModuleRef *module, FraxError *err);

/* Adds the special functions that the module calls, and checks that nothing else is left undefined but what
   every C library has. */
FraxStatus object_add_support(LLVMModuleRef module, const HostTarget *target, FraxError *err);

#endif
