/* llvm_half.h — 16-bit floats to f32 and back, as LLVM IR of integers (llvm_half.c). */
#ifndef FRAX_LLVM_HALF_H
#define FRAX_LLVM_HALF_H

#include "base.h"
#include <llvm-c/Core.h>

/* From the bits, of 16-bit integers or vectors of them, and to the bits; exactly as instructions do it. */
LLVMValueRef llvm_from_f16(LLVMBuilderRef builder, LLVMValueRef bits);
LLVMValueRef llvm_to_f16(LLVMBuilderRef builder, LLVMValueRef value);
LLVMValueRef llvm_from_bf16(LLVMBuilderRef builder, LLVMValueRef bits);
LLVMValueRef llvm_to_bf16(LLVMBuilderRef builder, LLVMValueRef value);

#endif
