/* llvm_internal.h — shared by llvm_emitter.c, llvm_math.c, llvm_half.c and llvm_random.c. */
#ifndef FRAX_LLVM_INTERNAL_H
#define FRAX_LLVM_INTERNAL_H

#include "llvm_emitter.h"

struct LlvmEmitter {
    Emitter base; /* first: an Emitter * is an LlvmEmitter * */
    const HostTarget *target;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMValueRef function;
    LLVMBasicBlockRef entry;
    bool rounds_each; /* while a pointwise op is emitted: nothing is contracted */
    bool out_of_memory;
};

/* `scalar`, in as many lanes as `type` has. */
static inline LLVMTypeRef llvm_like(LLVMTypeRef scalar, LLVMTypeRef type) {
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMVectorType(scalar, LLVMGetVectorSize(type))
                                                       : scalar;
}
/* A constant of `type`, a scalar or vector, whose lanes are all `scalar`. */
static inline LLVMValueRef llvm_all_lanes(LLVMTypeRef type, LLVMValueRef scalar) {
    LLVMValueRef values[64];
    if (LLVMGetTypeKind(type) != LLVMVectorTypeKind) return scalar;
    unsigned n = LLVMGetVectorSize(type);
    for (unsigned i = 0; i < n; i++) values[i] = scalar;
    return LLVMConstVector(values, n);
}

LLVMTypeRef llvm_type(const LlvmEmitter *l, EmType type, int lanes);
Em llvm_value(LLVMValueRef ref, EmType type, int lanes);
LLVMValueRef llvm_intrinsic(LlvmEmitter *l, const char *name, LLVMTypeRef *overloads, unsigned noverloads,
                            LLVMValueRef *args, unsigned nargs);
Em llvm_splat(Emitter *e, Em value, int lanes);
Em llvm_arith(Emitter *e, Op op, Em a, Em b);
Em llvm_select(Emitter *e, Em condition, Em yes, Em no);
Em llvm_uniform(Emitter *e, const Node *node, const Em *args); /* llvm_random.c */
Em llvm_pointwise(Emitter *e, const Node *node, const Em *args);

#endif
