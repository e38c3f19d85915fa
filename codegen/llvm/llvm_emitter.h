/* llvm_emitter.h — the emitter for the CPU: kernels become functions of one LLVM module. */
#ifndef FRAX_LLVM_EMITTER_H
#define FRAX_LLVM_EMITTER_H

#include "emitter.h"
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

typedef struct LlvmEmitter LlvmEmitter;

/* What code is generated for. */
typedef struct HostTarget {
    char *triple, *cpu, *features; /* LLVM's names; freed by host_target_free */
    int vector_bytes;
    char vector_isa;   /* the letter of the vector function ABI: b, d, e (x86), n (aarch64); 0: none */
    bool converts_f16; /* has instructions between f16 and f32 */
} HostTarget;

FraxStatus host_target(HostTarget *target, FraxError *err);
/* The target of a name: native; generic (any machine of this architecture); one of cpus.h. FRAX_VALUE for
   another name, FRAX_UNSUPPORTED where LLVM cannot generate code for it. */
FraxStatus named_target(const char *name, HostTarget *target, FraxError *err);
/* Is this machine's architecture that of the target? Not: has it all instructions. */
bool target_is_native(const HostTarget *target);
void host_target_free(HostTarget *target);

/* A new module for the target. The emitter is used through llvm_emitter_base; finish gives the verified
   module and its context to the caller. */
LlvmEmitter *llvm_emitter_create(const HostTarget *target);
Emitter *llvm_emitter_base(LlvmEmitter *emitter);
FraxStatus llvm_emitter_finish(LlvmEmitter *emitter, LLVMContextRef *context, LLVMModuleRef *module,
                               FraxError *err);
void llvm_emitter_destroy(LlvmEmitter *emitter);

/* The vector form of a libm function ("_ZGVeN16v_expf") exists on this machine. */
bool vector_function_exists(const char *symbol);
/* Address of a mathematical function that generated code may call (llvm_math.c); NULL if unknown. */
void *math_symbol(const char *name);

#endif
