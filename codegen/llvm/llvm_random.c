/* llvm_random.c — the op `uniform` as LLVM code: the generator of ir/philox.h, one block for each lane.
 *
 * Draws of one block (the two of a normal number) repeat its rounds here; LLVM sees that they are the same.
 */
#include "llvm_internal.h"
#include "philox.h"

/* Of the words of all lanes. */
typedef struct Words {
    LLVMBuilderRef b;
    LLVMTypeRef narrow, wide; /* 32 and 64 bits */
} Words;

static LLVMValueRef word(LLVMTypeRef type, uint64_t value) {
    LLVMTypeRef scalar = LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
    return llvm_all_lanes(type, LLVMConstInt(scalar, value, 0));
}

static void multiply(const Words *w, LLVMValueRef x, uint32_t factor, LLVMValueRef *high, LLVMValueRef *low) {
    LLVMValueRef p = LLVMBuildMul(w->b, LLVMBuildZExt(w->b, x, w->wide, ""), word(w->wide, factor), "");
    *high = LLVMBuildTrunc(w->b, LLVMBuildLShr(w->b, p, word(w->wide, 32), ""), w->narrow, "");
    *low = LLVMBuildTrunc(w->b, p, w->narrow, "");
}

static LLVMValueRef xor3(const Words *w, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
    return LLVMBuildXor(w->b, LLVMBuildXor(w->b, x, y, ""), z, "");
}

static void philox(const Words *w, LLVMValueRef c[4], LLVMValueRef k0, LLVMValueRef k1) {
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        LLVMValueRef high0, low0, high2, low2;
        multiply(w, c[0], PHILOX_M0, &high0, &low0);
        multiply(w, c[2], PHILOX_M1, &high2, &low2);
        c[0] = xor3(w, high2, c[1], k0), c[1] = low2;
        c[2] = xor3(w, high0, c[3], k1), c[3] = low0;
        k0 = LLVMBuildAdd(w->b, k0, word(w->narrow, PHILOX_W0), "");
        k1 = LLVMBuildAdd(w->b, k1, word(w->narrow, PHILOX_W1), "");
    }
}

/* Random bits as the mantissa of a number in [1, 2): 52 of them, or 23. */
static LLVMValueRef mantissa(const Words *w, const Node *node, LLVMValueRef c[4]) {
    int64_t which = node->attrs->m;
    if (node->type.dtype == FRAX_F32) {
        LLVMValueRef bits = LLVMBuildLShr(w->b, c[which], word(w->narrow, 9), "");
        return LLVMBuildOr(w->b, bits, word(w->narrow, 0x3f800000), "");
    }
    LLVMValueRef low = LLVMBuildZExt(w->b, c[2 * which], w->wide, "");
    LLVMValueRef high = LLVMBuildZExt(w->b, c[2 * which + 1], w->wide, "");
    LLVMValueRef both = LLVMBuildOr(w->b, low, LLVMBuildShl(w->b, high, word(w->wide, 32), ""), "");
    LLVMValueRef bits = LLVMBuildLShr(w->b, both, word(w->wide, 12), "");
    return LLVMBuildOr(w->b, bits, word(w->wide, UINT64_C(0x3ff) << 52), "");
}

Em llvm_uniform(Emitter *e, const Node *node, const Em *args) {
    LlvmEmitter *l = (LlvmEmitter *)e;
    LLVMTypeRef narrow = LLVMTypeOf(args[0].ref);
    Words w = {l->builder, narrow, llvm_like(LLVMInt64TypeInContext(l->context), narrow)};
    LLVMValueRef c[4] = {args[0].ref, word(narrow, 0), word(narrow, (uint64_t)node->attrs->n),
                         word(narrow, PHILOX_UNIFORM)};
    philox(&w, c, args[1].ref, args[2].ref);
    bool is_f64 = node->type.dtype == FRAX_F64;
    EmType type = is_f64 ? EM_F64 : EM_F32;
    LLVMValueRef bits = mantissa(&w, node, c);
    Em number =
        llvm_value(LLVMBuildBitCast(w.b, bits, llvm_type(l, type, args[0].lanes), ""), type, args[0].lanes);
    /* Less 1 and half a step more: exact. */
    Em one = e->ops->constant(e, type, is_f64 ? 1 - 0x1p-53 : 1 - 0x1p-24);
    return llvm_arith(e, OP_sub, number, llvm_splat(e, one, number.lanes));
}
