/* llvm_internal.h — shared by llvm_emitter.c and llvm_math.c. */
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
    bool out_of_memory;
};

LLVMTypeRef llvm_type(const LlvmEmitter *l, EmType type, int lanes);
Em llvm_value(LLVMValueRef ref, EmType type, int lanes);
LLVMValueRef llvm_intrinsic(LlvmEmitter *l, const char *name, LLVMTypeRef *overloads, unsigned noverloads,
                            LLVMValueRef *args, unsigned nargs);
Em llvm_splat(Emitter *e, Em value, int lanes);
Em llvm_arith(Emitter *e, Op op, Em a, Em b);
Em llvm_select(Emitter *e, Em condition, Em yes, Em no);
Em llvm_pointwise(Emitter *e, const Node *node, const Em *args);

#endif
