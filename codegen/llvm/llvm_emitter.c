/* llvm_emitter.c — emitter.h for the CPU through LLVM's C interface: lanes are vectors, variables are stack
 * slots that the optimiser turns into registers. Mathematical functions come from libmvec where it has them
 * (llvm_math.c).
 */
#include "llvm_emitter.h"
#include "llvm_half.h"
#include "llvm_internal.h"
#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <string.h>

/* ---- Types and small helpers ---- */

EmType em_type_of(FraxDType dtype) {
    switch (dtype) {
    case FRAX_F64: return EM_F64;
    case FRAX_I32: return EM_I32;
    case FRAX_BOOL: return EM_BOOL;
    default: return EM_F32;
    }
}

static LlvmEmitter *self(Emitter *e) {
    return (LlvmEmitter *)e;
}

static LLVMTypeRef scalar_type(const LlvmEmitter *l, EmType type) {
    switch (type) {
    case EM_F64: return LLVMDoubleTypeInContext(l->context);
    case EM_F32: return LLVMFloatTypeInContext(l->context);
    case EM_I32: return LLVMInt32TypeInContext(l->context);
    case EM_BOOL: return LLVMInt1TypeInContext(l->context);
    case EM_INDEX: return LLVMInt64TypeInContext(l->context);
    default: return LLVMPointerTypeInContext(l->context, 0);
    }
}

LLVMTypeRef llvm_type(const LlvmEmitter *l, EmType type, int lanes) {
    LLVMTypeRef scalar = scalar_type(l, type);
    return lanes == 1 ? scalar : LLVMVectorType(scalar, (unsigned)lanes);
}

Em llvm_value(LLVMValueRef ref, EmType type, int lanes) {
    return (Em){ref, type, lanes};
}

static bool is_float(EmType type) {
    return type == EM_F64 || type == EM_F32;
}

/* Products and sums of the templates may be contracted to one rounding; nothing else about arithmetic is
   relaxed. Those of a pointwise op may not: a value that is computed at several places, in two passes over a
   row say, has to have the same bits at all of them (x == max(x) is asked for the gradient of a maximum), and
   x*x − y*y is 0 where x is y. */
static LLVMValueRef contract(const LlvmEmitter *l, LLVMValueRef v) {
    if (!l->rounds_each && LLVMCanValueUseFastMathFlags(v))
        LLVMSetFastMathFlags(v, LLVMFastMathAllowContract);
    return v;
}

LLVMValueRef llvm_intrinsic(LlvmEmitter *l, const char *name, LLVMTypeRef *overloads, unsigned noverloads,
                            LLVMValueRef *args, unsigned nargs) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(l->module, id, overloads, noverloads);
    LLVMTypeRef type = LLVMIntrinsicGetType(l->context, id, overloads, noverloads);
    return LLVMBuildCall2(l->builder, type, f, args, nargs, "");
}

static Em em_constant(Emitter *e, EmType type, double value) {
    LLVMTypeRef t = llvm_type(self(e), type, 1);
    if (is_float(type)) return llvm_value(LLVMConstReal(t, value), type, 1);
    return llvm_value(LLVMConstInt(t, (unsigned long long)(int64_t)value, 1), type, 1);
}

static Em em_index(Emitter *e, int64_t value) {
    return llvm_value(LLVMConstInt(llvm_type(self(e), EM_INDEX, 1), (unsigned long long)value, 1), EM_INDEX,
                      1);
}

Em llvm_splat(Emitter *e, Em v, int lanes) {
    LlvmEmitter *l = self(e);
    if (v.lanes == lanes) return v;
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context), vector = llvm_type(l, v.type, lanes);
    LLVMValueRef one =
        LLVMBuildInsertElement(l->builder, LLVMGetPoison(vector), v.ref, LLVMConstInt(i32, 0, 0), "");
    LLVMValueRef zeros = LLVMConstNull(LLVMVectorType(i32, (unsigned)lanes));
    return llvm_value(LLVMBuildShuffleVector(l->builder, one, LLVMGetPoison(vector), zeros, ""), v.type,
                      lanes);
}

static void level(Emitter *e, Em *a, Em *b) {
    int lanes = MAX(a->lanes, b->lanes);
    *a = llvm_splat(e, *a, lanes);
    *b = llvm_splat(e, *b, lanes);
}

/* ---- Index arithmetic ---- */

static Em em_index_op(Emitter *e, IndexOp op, Em a, Em b) {
    LLVMBuilderRef b_ = self(e)->builder;
    LLVMValueRef r = NULL;
    level(e, &a, &b);
    switch (op) {
    case INDEX_ADD: r = LLVMBuildAdd(b_, a.ref, b.ref, ""); break;
    case INDEX_SUB: r = LLVMBuildSub(b_, a.ref, b.ref, ""); break;
    case INDEX_MUL: r = LLVMBuildMul(b_, a.ref, b.ref, ""); break;
    case INDEX_DIV: r = LLVMBuildUDiv(b_, a.ref, b.ref, ""); break;
    case INDEX_REM: r = LLVMBuildURem(b_, a.ref, b.ref, ""); break;
    case INDEX_MIN: {
        LLVMValueRef less = LLVMBuildICmp(b_, LLVMIntSLT, a.ref, b.ref, "");
        r = LLVMBuildSelect(b_, less, a.ref, b.ref, "");
    }
    }
    return llvm_value(r, EM_INDEX, a.lanes);
}

static Em em_index_less(Emitter *e, Em a, Em b) {
    level(e, &a, &b);
    return llvm_value(LLVMBuildICmp(self(e)->builder, LLVMIntULT, a.ref, b.ref, ""), EM_BOOL, a.lanes);
}

static Em em_index_lanes(Emitter *e, Em first, int64_t step, int lanes) {
    LlvmEmitter *l = self(e);
    LLVMValueRef steps[64];
    if (lanes == 1) return first;
    for (int i = 0; i < lanes; i++) steps[i] = em_index(e, i * step).ref;
    LLVMValueRef ramp = LLVMConstVector(steps, (unsigned)lanes);
    return llvm_value(LLVMBuildAdd(l->builder, llvm_splat(e, first, lanes).ref, ramp, ""), EM_INDEX, lanes);
}

/* ---- Conversion ---- */

/* To an integer: toward zero, saturating, NaN to 0 (fptosi.sat). */
static LLVMValueRef float_to_integer(LlvmEmitter *l, Em v) {
    LLVMTypeRef types[2] = {llvm_type(l, EM_I32, v.lanes), llvm_type(l, v.type, v.lanes)};
    return llvm_intrinsic(l, "llvm.fptosi.sat", types, 2, (LLVMValueRef[]){v.ref}, 1);
}

static Em em_convert(Emitter *e, Em v, EmType type) {
    LlvmEmitter *l = self(e);
    LLVMTypeRef to = llvm_type(l, type, v.lanes);
    LLVMValueRef r = v.ref;
    if (v.type == type) return v;
    if (is_float(v.type) && is_float(type))
        r = type == EM_F64 ? LLVMBuildFPExt(l->builder, v.ref, to, "")
                           : LLVMBuildFPTrunc(l->builder, v.ref, to, "");
    else if (type == EM_BOOL && is_float(v.type))
        r = LLVMBuildFCmp(l->builder, LLVMRealUNE, v.ref, LLVMConstNull(llvm_type(l, v.type, v.lanes)), "");
    else if (type == EM_BOOL)
        r = LLVMBuildICmp(l->builder, LLVMIntNE, v.ref, LLVMConstNull(llvm_type(l, v.type, v.lanes)), "");
    else if (is_float(v.type))
        r = float_to_integer(l, v);
    else if (is_float(type))
        r = v.type == EM_BOOL ? LLVMBuildUIToFP(l->builder, v.ref, to, "")
                              : LLVMBuildSIToFP(l->builder, v.ref, to, "");
    else if (v.type == EM_BOOL)
        r = LLVMBuildZExt(l->builder, v.ref, to, "");
    else
        r = type == EM_INDEX ? LLVMBuildSExt(l->builder, v.ref, to, "")
                             : LLVMBuildTrunc(l->builder, v.ref, to, "");
    return llvm_value(r, type, v.lanes);
}

/* ---- Arithmetic ---- */

static LLVMValueRef extremum(LlvmEmitter *l, Op op, Em a, Em b) {
    bool greatest = op == OP_max || op == OP_reduce_max;
    LLVMBuilderRef builder = l->builder;
    if (!is_float(a.type)) {
        LLVMValueRef first = LLVMBuildICmp(builder, greatest ? LLVMIntSGT : LLVMIntSLT, a.ref, b.ref, "");
        return LLVMBuildSelect(builder, first, a.ref, b.ref, "");
    }
    /* NaN in either operand gives NaN. */
    LLVMValueRef nan = LLVMBuildFCmp(builder, LLVMRealUNO, a.ref, a.ref, "");
    LLVMValueRef first = LLVMBuildFCmp(builder, greatest ? LLVMRealOGT : LLVMRealOLT, a.ref, b.ref, "");
    return LLVMBuildSelect(builder, LLVMBuildOr(builder, nan, first, ""), a.ref, b.ref, "");
}

static LLVMValueRef compare(LlvmEmitter *l, Op op, Em a, Em b) {
    static const struct {
        Op op;
        LLVMRealPredicate real;
        LLVMIntPredicate integer, logic;
    } predicates[] = {
        {OP_eq, LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ},   {OP_ne, LLVMRealUNE, LLVMIntNE, LLVMIntNE},
        {OP_lt, LLVMRealOLT, LLVMIntSLT, LLVMIntULT}, {OP_le, LLVMRealOLE, LLVMIntSLE, LLVMIntULE},
        {OP_gt, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT}, {OP_ge, LLVMRealOGE, LLVMIntSGE, LLVMIntUGE},
    };
    for (size_t i = 0; i < COUNT(predicates); i++) {
        if (predicates[i].op != op) continue;
        if (is_float(a.type)) return LLVMBuildFCmp(l->builder, predicates[i].real, a.ref, b.ref, "");
        return LLVMBuildICmp(l->builder, a.type == EM_BOOL ? predicates[i].logic : predicates[i].integer,
                             a.ref, b.ref, "");
    }
    return NULL;
}

static LLVMValueRef arithmetic(LlvmEmitter *l, Op op, Em a, Em b) {
    LLVMBuilderRef builder = l->builder;
    bool real = is_float(a.type);
    switch (op) {
    case OP_add:
    case OP_sum:
        return real ? contract(l, LLVMBuildFAdd(builder, a.ref, b.ref, ""))
                    : LLVMBuildAdd(builder, a.ref, b.ref, "");
    case OP_sub:
        return real ? contract(l, LLVMBuildFSub(builder, a.ref, b.ref, ""))
                    : LLVMBuildSub(builder, a.ref, b.ref, "");
    case OP_mul:
        return real ? contract(l, LLVMBuildFMul(builder, a.ref, b.ref, ""))
                    : LLVMBuildMul(builder, a.ref, b.ref, "");
    case OP_div: return LLVMBuildFDiv(builder, a.ref, b.ref, "");
    case OP_min:
    case OP_max:
    case OP_reduce_min:
    case OP_reduce_max: return extremum(l, op, a, b);
    case OP_and: return LLVMBuildAnd(builder, a.ref, b.ref, "");
    case OP_or: return LLVMBuildOr(builder, a.ref, b.ref, "");
    default: return compare(l, op, a, b);
    }
}

Em llvm_arith(Emitter *e, Op op, Em a, Em b) {
    level(e, &a, &b);
    LLVMValueRef r = arithmetic(self(e), op, a, b);
    bool is_compare = op >= OP_eq && op <= OP_ge;
    return llvm_value(r, is_compare ? EM_BOOL : a.type, a.lanes);
}

static Em em_fma(Emitter *e, Em a, Em b, Em c) {
    level(e, &a, &b);
    level(e, &a, &c);
    level(e, &a, &b);
    LLVMTypeRef type = llvm_type(self(e), a.type, a.lanes);
    LLVMValueRef r =
        llvm_intrinsic(self(e), "llvm.fmuladd", &type, 1, (LLVMValueRef[]){a.ref, b.ref, c.ref}, 3);
    return llvm_value(r, a.type, a.lanes);
}

static Em em_fnma(Emitter *e, Em a, Em b, Em c) {
    a.ref = LLVMBuildFNeg(self(e)->builder, a.ref, "");
    return em_fma(e, a, b, c);
}

Em llvm_select(Emitter *e, Em condition, Em yes, Em no) {
    level(e, &yes, &no);
    if (condition.lanes > yes.lanes) {
        yes = llvm_splat(e, yes, condition.lanes);
        no = llvm_splat(e, no, condition.lanes);
    }
    LLVMValueRef r = LLVMBuildSelect(self(e)->builder, condition.ref, yes.ref, no.ref, "");
    return llvm_value(r, yes.type, yes.lanes);
}

/* Halves are combined until one lane is left. */
static Em em_reduce(Emitter *e, Op op, Em v) {
    LlvmEmitter *l = self(e);
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context);
    while (v.lanes > 1) {
        LLVMValueRef low[64], high[64];
        int half = v.lanes / 2;
        for (int i = 0; i < half; i++) {
            low[i] = LLVMConstInt(i32, (unsigned)i, 0);
            high[i] = LLVMConstInt(i32, (unsigned)(i + half), 0);
        }
        LLVMValueRef none = LLVMGetPoison(llvm_type(l, v.type, v.lanes));
        LLVMValueRef a =
            LLVMBuildShuffleVector(l->builder, v.ref, none, LLVMConstVector(low, (unsigned)half), "");
        LLVMValueRef b =
            LLVMBuildShuffleVector(l->builder, v.ref, none, LLVMConstVector(high, (unsigned)half), "");
        if (half == 1) {
            a = LLVMBuildExtractElement(l->builder, v.ref, LLVMConstInt(i32, 0, 0), "");
            b = LLVMBuildExtractElement(l->builder, v.ref, LLVMConstInt(i32, 1, 0), "");
        }
        v = llvm_arith(e, op, llvm_value(a, v.type, half), llvm_value(b, v.type, half));
    }
    return v;
}

/* ---- Lanes in another order ---- */

static LLVMValueRef shuffle(LlvmEmitter *l, LLVMValueRef a, LLVMValueRef b, const int *order, int lanes) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context);
    LLVMValueRef places[64];
    for (int i = 0; i < lanes; i++) places[i] = LLVMConstInt(i32, (unsigned)order[i], 0);
    return LLVMBuildShuffleVector(l->builder, a, b, LLVMConstVector(places, (unsigned)lanes), "");
}

static Em interleave_pair(LlvmEmitter *l, Em a, Em b, int unit) {
    int order[64];
    for (int i = 0; i < 2 * a.lanes; i++) {
        int group = i / (2 * unit), place = i % (2 * unit);
        order[i] = group * unit + place % unit + (place < unit ? 0 : a.lanes);
    }
    return llvm_value(shuffle(l, a.ref, b.ref, order, 2 * a.lanes), a.type, 2 * a.lanes);
}

static Em em_interleave(Emitter *e, const Em *v, int count, int unit) {
    LlvmEmitter *l = self(e);
    if (count == 2) return interleave_pair(l, v[0], v[1], unit);
    return interleave_pair(l, interleave_pair(l, v[0], v[2], unit), interleave_pair(l, v[1], v[3], unit),
                           unit);
}

/* A transposition with additions on the way. After step k vector i holds 2^k sums in the making, of the
   values i, i + n/2^k, …, each spread over n/2^k lanes; vectors i and i + n/2^{k+1} are merged. */
static Em em_sum_lanes(Emitter *e, const Em *values) {
    LlvmEmitter *l = self(e);
    int n = values[0].lanes, low[64], high[64];
    Em part[64];
    memcpy(part, values, sizeof *part * (size_t)n);
    for (int half = n / 2; half >= 1; half /= 2) {
        for (int i = 0; i < n; i++) {
            int sum = i / half, lane = i % half, from = sum % 2 * n + sum / 2 * 2 * half;
            low[i] = from + lane;
            high[i] = from + half + lane;
        }
        for (int i = 0; i < half; i++) {
            LLVMValueRef a = shuffle(l, part[i].ref, part[i + half].ref, low, n);
            LLVMValueRef b = shuffle(l, part[i].ref, part[i + half].ref, high, n);
            part[i] = llvm_arith(e, OP_add, llvm_value(a, part[i].type, n), llvm_value(b, part[i].type, n));
        }
    }
    return part[0];
}

static Em em_reverse(Emitter *e, Em v) {
    int order[64];
    if (v.lanes == 1) return v;
    for (int i = 0; i < v.lanes; i++) order[i] = v.lanes - 1 - i;
    return llvm_value(shuffle(self(e), v.ref, LLVMGetPoison(LLVMTypeOf(v.ref)), order, v.lanes), v.type,
                      v.lanes);
}

/* Exchanges the odd units of a with the even units of b. */
static void exchange_units(LlvmEmitter *l, Em *a, Em *b, int unit) {
    int low[64], high[64];
    for (int i = 0; i < a->lanes; i++) {
        bool odd = i / unit % 2;
        low[i] = odd ? a->lanes + i - unit : i;
        high[i] = odd ? a->lanes + i : i + unit;
    }
    LLVMValueRef first = shuffle(l, a->ref, b->ref, low, a->lanes);
    b->ref = shuffle(l, a->ref, b->ref, high, a->lanes);
    a->ref = first;
}

/* a: the even units of a, then of b, in each group of four; b: the odd ones. */
static void part_units(LlvmEmitter *l, Em *a, Em *b, int unit) {
    int even[64], odd[64];
    for (int i = 0; i < a->lanes; i++) {
        int q = i / unit % 4, group = i - i % (4 * unit);
        even[i] = (q < 2 ? 0 : a->lanes) + group + q % 2 * 2 * unit + i % unit;
        odd[i] = even[i] + unit;
    }
    LLVMValueRef first = shuffle(l, a->ref, b->ref, even, a->lanes);
    b->ref = shuffle(l, a->ref, b->ref, odd, a->lanes);
    a->ref = first;
}

/* Two ways for four vectors, so that each step is one instruction of x86: between units of 64 bits the first
   exchange stays within 128 bits; for others the second step does. */
static void em_transpose(Emitter *e, Em *v, int count, int unit) {
    LlvmEmitter *l = self(e);
    if (count == 2) {
        exchange_units(l, &v[0], &v[1], unit);
    } else if (unit * (v[0].type == EM_F64 ? 8 : 4) == 8) {
        for (int i = 0; i < 4; i += 2) exchange_units(l, &v[i], &v[i + 1], unit);
        for (int i = 0; i < 2; i++) exchange_units(l, &v[i], &v[i + 2], 2 * unit);
    } else {
        for (int i = 0; i < 4; i += 2) exchange_units(l, &v[i], &v[i + 1], 2 * unit);
        for (int i = 0; i < 2; i++) part_units(l, &v[i], &v[i + 2], unit);
        Em second = v[1]; /* v holds the rows 0, 2, 1, 3 by now */
        v[1] = v[2];
        v[2] = second;
    }
}

/* ---- Memory ---- */

/* Tables with the same content become one (the optimiser merges constants of private, unnamed address). */
static Em em_table(Emitter *e, FraxDType dtype, const double *values, int64_t count) {
    LlvmEmitter *l = self(e);
    LLVMTypeRef type = scalar_type(l, em_type_of(dtype));
    LLVMValueRef *elements = mem_alloc(sizeof *elements * (size_t)count);
    LLVMTypeRef array = LLVMArrayType2(type, (uint64_t)count);
    LLVMValueRef global = LLVMAddGlobal(l->module, array, "");
    for (int64_t i = 0; elements && i < count; i++)
        elements[i] = em_constant(e, em_type_of(dtype), values[i]).ref;
    if (elements)
        LLVMSetInitializer(global, LLVMConstArray2(type, elements, (uint64_t)count));
    else
        l->out_of_memory = true;
    LLVMSetGlobalConstant(global, 1);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    LLVMSetUnnamedAddress(global, LLVMGlobalUnnamedAddr);
    LLVMSetAlignment(global, 64);
    mem_free(elements);
    return llvm_value(global, EM_POINTER, 1);
}

static Em em_pointer(Emitter *e, Em base, Em bytes) {
    LlvmEmitter *l = self(e);
    LLVMTypeRef byte = LLVMInt8TypeInContext(l->context);
    return llvm_value(LLVMBuildGEP2(l->builder, byte, base.ref, (LLVMValueRef[]){bytes.ref}, 1, ""),
                      EM_POINTER, 1);
}

static Em em_load_pointer(Emitter *e, Em base, int64_t bytes) {
    LLVMValueRef at = em_pointer(e, base, em_index(e, bytes)).ref;
    return llvm_value(LLVMBuildLoad2(self(e)->builder, llvm_type(self(e), EM_POINTER, 1), at, ""), EM_POINTER,
                      1);
}

/* The type in memory: 16-bit floats as integers, bool as bytes. */
static LLVMTypeRef memory_scalar(const LlvmEmitter *l, FraxDType dtype) {
    switch (dtype) {
    case FRAX_BF16:
    case FRAX_F16: return LLVMInt16TypeInContext(l->context);
    case FRAX_BOOL: return LLVMInt8TypeInContext(l->context);
    default: return scalar_type(l, em_type_of(dtype));
    }
}

static LLVMTypeRef with_lanes(LLVMTypeRef scalar, int lanes) {
    return lanes == 1 ? scalar : LLVMVectorType(scalar, (unsigned)lanes);
}

static Em from_memory(LlvmEmitter *l, LLVMValueRef raw, FraxDType dtype, int lanes) {
    LLVMTypeRef type = llvm_type(l, em_type_of(dtype), lanes);
    switch (dtype) {
    case FRAX_BF16: raw = llvm_from_bf16(l->builder, raw); break;
    case FRAX_F16:
        if (!l->target->converts_f16) {
            raw = llvm_from_f16(l->builder, raw);
            break;
        }
        raw = LLVMBuildBitCast(l->builder, raw, with_lanes(LLVMHalfTypeInContext(l->context), lanes), "");
        raw = LLVMBuildFPExt(l->builder, raw, type, "");
        break;
    case FRAX_BOOL:
        raw = LLVMBuildICmp(l->builder, LLVMIntNE, raw, LLVMConstNull(LLVMTypeOf(raw)), "");
        break;
    default: break;
    }
    return llvm_value(raw, em_type_of(dtype), lanes);
}

static LLVMValueRef to_memory(LlvmEmitter *l, Em v, FraxDType dtype) {
    LLVMTypeRef type = with_lanes(memory_scalar(l, dtype), v.lanes);
    switch (dtype) {
    case FRAX_BF16: return llvm_to_bf16(l->builder, v.ref);
    case FRAX_F16: {
        if (!l->target->converts_f16) return llvm_to_f16(l->builder, v.ref);
        LLVMTypeRef half = with_lanes(LLVMHalfTypeInContext(l->context), v.lanes);
        return LLVMBuildBitCast(l->builder, LLVMBuildFPTrunc(l->builder, v.ref, half, ""), type, "");
    }
    case FRAX_BOOL: return LLVMBuildZExt(l->builder, v.ref, type, "");
    default: return v.ref;
    }
}

static Em em_round_to(Emitter *e, Em v, FraxDType dtype) {
    return from_memory(self(e), to_memory(self(e), v, dtype), dtype, v.lanes);
}

static LLVMValueRef element_address(LlvmEmitter *l, Em base, FraxDType dtype, Em at) {
    return LLVMBuildGEP2(l->builder, memory_scalar(l, dtype), base.ref, (LLVMValueRef[]){at.ref}, 1, "");
}

static LLVMValueRef aligned(LLVMValueRef access, FraxDType dtype) {
    LLVMSetAlignment(access, (unsigned)frax_dtype_size(dtype));
    return access;
}

/* Masked intrinsics take their alignment as an operand before LLVM 22, as an attribute of the pointer since.
 */
static LLVMValueRef masked(LlvmEmitter *l, const char *name, LLVMTypeRef *types, LLVMValueRef *args,
                           unsigned nargs, int pointer, FraxDType dtype) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef type = LLVMIntrinsicGetType(l->context, id, types, 2);
    LLVMValueRef f = LLVMGetIntrinsicDeclaration(l->module, id, types, 2), full[5];
    uint64_t align = frax_dtype_size(dtype);
    bool operand = LLVMCountParamTypes(type) == nargs + 1;
    unsigned n = 0;
    for (unsigned i = 0; i < nargs; i++) {
        full[n++] = args[i];
        if (operand && (int)i == pointer)
            full[n++] = LLVMConstInt(LLVMInt32TypeInContext(l->context), align, 0);
    }
    LLVMValueRef call = LLVMBuildCall2(l->builder, type, f, full, n, "");
    if (!operand) LLVMSetInstrParamAlignment(call, (LLVMAttributeIndex)pointer + 1, (unsigned)align);
    return call;
}

static LLVMValueRef addresses(Emitter *e, Em base, FraxDType dtype, Em at, int64_t stride, int lanes) {
    Em places = em_index_lanes(e, at, stride, lanes);
    return LLVMBuildGEP2(self(e)->builder, memory_scalar(self(e), dtype), base.ref,
                         (LLVMValueRef[]){places.ref}, 1, "");
}

static LLVMValueRef all_true(LlvmEmitter *l, int lanes) {
    return LLVMConstAllOnes(llvm_type(l, EM_BOOL, lanes));
}

/* The elements at a vector of addresses; mask NULL: all. */
static LLVMValueRef gathered(LlvmEmitter *l, LLVMValueRef where, FraxDType dtype, int lanes,
                             LLVMValueRef mask) {
    LLVMTypeRef type = with_lanes(memory_scalar(l, dtype), lanes);
    LLVMValueRef args[3] = {where, mask ? mask : all_true(l, lanes), LLVMConstNull(type)};
    return masked(l, "llvm.masked.gather", (LLVMTypeRef[]){type, LLVMTypeOf(where)}, args, 3, 0, dtype);
}

/* Elements at, at − 1, … are those from the last one on, in reverse order. */
static Em last_of(Emitter *e, Em at, int lanes) {
    return em_index_op(e, INDEX_SUB, at, em_index(e, lanes - 1));
}

static Em reversed_mask(Emitter *e, Em mask, int lanes) {
    return mask.ref ? em_reverse(e, llvm_splat(e, mask, lanes)) : mask;
}

static Em em_load(Emitter *e, Em base, FraxDType dtype, Em at, int64_t stride, int lanes, Em mask) {
    LlvmEmitter *l = self(e);
    if (lanes > 1 && stride == -1)
        return em_reverse(
            e, em_load(e, base, dtype, last_of(e, at, lanes), 1, lanes, reversed_mask(e, mask, lanes)));
    LLVMTypeRef type = with_lanes(memory_scalar(l, dtype), lanes);
    LLVMValueRef raw, mask_ref = mask.ref ? llvm_splat(e, mask, lanes).ref : NULL;
    if (lanes > 1 && stride != 1) {
        raw = gathered(l, addresses(e, base, dtype, at, stride, lanes), dtype, lanes, mask_ref);
    } else if (!mask_ref) {
        raw = aligned(LLVMBuildLoad2(l->builder, type, element_address(l, base, dtype, at), ""), dtype);
    } else if (lanes == 1) { /* element 0 stands in for one that may not exist */
        Em safe = llvm_select(e, mask, at, em_index(e, 0));
        raw = aligned(LLVMBuildLoad2(l->builder, type, element_address(l, base, dtype, safe), ""), dtype);
        raw = LLVMBuildSelect(l->builder, mask_ref, raw, LLVMConstNull(type), "");
    } else {
        LLVMValueRef args[3] = {element_address(l, base, dtype, at), mask_ref, LLVMConstNull(type)};
        raw = masked(l, "llvm.masked.load", (LLVMTypeRef[]){type, llvm_type(l, EM_POINTER, 1)}, args, 3, 0,
                     dtype);
    }
    return from_memory(l, raw, dtype, lanes);
}

static Em em_gather(Emitter *e, Em base, FraxDType dtype, Em places) {
    LlvmEmitter *l = self(e);
    if (places.lanes == 1) return em_load(e, base, dtype, places, 1, 1, (Em){0});
    LLVMValueRef raw = gathered(l, element_address(l, base, dtype, places), dtype, places.lanes, NULL);
    return from_memory(l, raw, dtype, places.lanes);
}

/* The same mask, whose value LLVM cannot know. LLVM 22 makes a store of lanes cut to 16 bits, under a
 * constant mask of one lane, a store of 32 bits, which damages what lies behind. */
static LLVMValueRef hidden_mask(LlvmEmitter *l, LLVMValueRef mask, int lanes) {
    LLVMTypeRef bits = LLVMIntTypeInContext(l->context, (unsigned)lanes),
                i32 = LLVMInt32TypeInContext(l->context);
    LLVMTypeRef type = LLVMFunctionType(i32, &i32, 1, 0);
    LLVMValueRef same = LLVMGetInlineAsm(type, "", 0, "=r,0", 4, 0, 0, LLVMInlineAsmDialectATT, 0);
    LLVMValueRef word = LLVMBuildZExt(l->builder, LLVMBuildBitCast(l->builder, mask, bits, ""), i32, "");
    word = LLVMBuildCall2(l->builder, type, same, &word, 1, "");
    return LLVMBuildBitCast(l->builder, LLVMBuildTrunc(l->builder, word, bits, ""), LLVMTypeOf(mask), "");
}

static void em_store(Emitter *e, Em base, FraxDType dtype, Em at, int64_t stride, Em v, Em mask) {
    LlvmEmitter *l = self(e);
    if (v.lanes > 1 && stride == -1) {
        em_store(e, base, dtype, last_of(e, at, v.lanes), 1, em_reverse(e, v),
                 reversed_mask(e, mask, v.lanes));
        return;
    }
    LLVMValueRef raw = to_memory(l, v, dtype), mask_ref = mask.ref ? llvm_splat(e, mask, v.lanes).ref : NULL;
    LLVMTypeRef type = LLVMTypeOf(raw);
    if (v.lanes > 1 && stride != 1) {
        LLVMValueRef where = addresses(e, base, dtype, at, stride, v.lanes);
        LLVMValueRef args[3] = {raw, where, mask_ref ? mask_ref : all_true(l, v.lanes)};
        masked(l, "llvm.masked.scatter", (LLVMTypeRef[]){type, LLVMTypeOf(where)}, args, 3, 1, dtype);
    } else if (!mask_ref) {
        aligned(LLVMBuildStore(l->builder, raw, element_address(l, base, dtype, at)), dtype);
    } else { /* a scalar is a vector of one lane here */
        if (v.lanes == 1) {
            type = LLVMVectorType(type, 1);
            raw = LLVMBuildBitCast(l->builder, raw, type, "");
            mask_ref = LLVMBuildBitCast(l->builder, mask_ref,
                                        LLVMVectorType(LLVMInt1TypeInContext(l->context), 1), "");
        }
        bool is_cut = dtype == FRAX_BF16 || (dtype == FRAX_F16 && !l->target->converts_f16);
        if (is_cut && v.lanes > 1 && v.lanes <= 32) mask_ref = hidden_mask(l, mask_ref, v.lanes);
        LLVMValueRef args[3] = {raw, element_address(l, base, dtype, at), mask_ref};
        masked(l, "llvm.masked.store", (LLVMTypeRef[]){type, llvm_type(l, EM_POINTER, 1)}, args, 3, 1, dtype);
    }
}

static void em_prefetch(Emitter *e, Em base, FraxDType dtype, Em at, bool write) {
    enum { KEEP = 3, DATA = 1 }; /* in all levels of the cache; not instructions */
    LlvmEmitter *l = self(e);
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context), pointer = llvm_type(l, EM_POINTER, 1);
    LLVMValueRef args[4] = {element_address(l, base, dtype, at), LLVMConstInt(i32, write, 0),
                            LLVMConstInt(i32, KEEP, 0), LLVMConstInt(i32, DATA, 0)};
    llvm_intrinsic(l, "llvm.prefetch", &pointer, 1, args, COUNT(args));
}

/* ---- Complex elements, interleaved in memory ---- */

static void em_load_complex(Emitter *e, Em base, FraxDType dtype, Em at, int lanes, Em *re, Em *im) {
    LlvmEmitter *l = self(e);
    Em none = {0}, first = em_index_op(e, INDEX_MUL, at, em_index(e, 2));
    if (lanes == 1) {
        *re = em_load(e, base, dtype, first, 1, 1, none);
        *im = em_load(e, base, dtype, em_index_op(e, INDEX_ADD, first, em_index(e, 1)), 1, 1, none);
        return;
    }
    Em both = em_load(e, base, dtype, first, 1, 2 * lanes, none);
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context);
    LLVMValueRef even[64], odd[64], poison = LLVMGetPoison(LLVMTypeOf(both.ref));
    for (int i = 0; i < lanes; i++) {
        even[i] = LLVMConstInt(i32, (unsigned)(2 * i), 0);
        odd[i] = LLVMConstInt(i32, (unsigned)(2 * i + 1), 0);
    }
    LLVMValueRef evens = LLVMConstVector(even, (unsigned)lanes), odds = LLVMConstVector(odd, (unsigned)lanes);
    *re = llvm_value(LLVMBuildShuffleVector(l->builder, both.ref, poison, evens, ""), both.type, lanes);
    *im = llvm_value(LLVMBuildShuffleVector(l->builder, both.ref, poison, odds, ""), both.type, lanes);
}

static void em_store_complex(Emitter *e, Em base, FraxDType dtype, Em at, Em re, Em im) {
    LlvmEmitter *l = self(e);
    Em none = {0}, first = em_index_op(e, INDEX_MUL, at, em_index(e, 2));
    level(e, &re, &im);
    if (re.lanes == 1) {
        em_store(e, base, dtype, first, 1, re, none);
        em_store(e, base, dtype, em_index_op(e, INDEX_ADD, first, em_index(e, 1)), 1, im, none);
        return;
    }
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context);
    LLVMValueRef order[64];
    for (int i = 0; i < re.lanes; i++) {
        order[2 * i] = LLVMConstInt(i32, (unsigned)i, 0);
        order[2 * i + 1] = LLVMConstInt(i32, (unsigned)(i + re.lanes), 0);
    }
    LLVMValueRef shuffle = LLVMConstVector(order, (unsigned)(2 * re.lanes));
    LLVMValueRef both = LLVMBuildShuffleVector(l->builder, re.ref, im.ref, shuffle, "");
    em_store(e, base, dtype, first, 1, llvm_value(both, re.type, 2 * re.lanes), none);
}

/* ---- Variables and control flow ---- */

/* Stack slots are made in the entry block, where the optimiser looks for them. */
static Em em_variable(Emitter *e, EmType type, int lanes) {
    LlvmEmitter *l = self(e);
    LLVMBasicBlockRef here = LLVMGetInsertBlock(l->builder);
    LLVMValueRef first = LLVMGetFirstInstruction(l->entry);
    if (first)
        LLVMPositionBuilderBefore(l->builder, first);
    else
        LLVMPositionBuilderAtEnd(l->builder, l->entry);
    LLVMValueRef slot = LLVMBuildAlloca(l->builder, llvm_type(l, type, lanes), "");
    LLVMPositionBuilderAtEnd(l->builder, here);
    return llvm_value(slot, EM_POINTER, 1);
}

static Em em_get(Emitter *e, Em variable, EmType type, int lanes) {
    LLVMTypeRef t = llvm_type(self(e), type, lanes);
    return llvm_value(LLVMBuildLoad2(self(e)->builder, t, variable.ref, ""), type, lanes);
}

static void em_set(Emitter *e, Em variable, Em value) {
    LLVMBuildStore(self(e)->builder, value.ref, variable.ref);
}

static LLVMBasicBlockRef new_block(LlvmEmitter *l) {
    return LLVMAppendBasicBlockInContext(l->context, l->function, "");
}

static EmLoop em_loop_begin(Emitter *e, Em first, Em end, int64_t step) {
    LlvmEmitter *l = self(e);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(l->builder);
    LLVMBasicBlockRef header = new_block(l), body = new_block(l), exit = new_block(l);
    LLVMBuildBr(l->builder, header);
    LLVMPositionBuilderAtEnd(l->builder, header);
    LLVMValueRef phi = LLVMBuildPhi(l->builder, llvm_type(l, EM_INDEX, 1), "");
    LLVMAddIncoming(phi, (LLVMValueRef[]){first.ref}, &before, 1);
    LLVMBuildCondBr(l->builder, LLVMBuildICmp(l->builder, LLVMIntSLT, phi, end.ref, ""), body, exit);
    LLVMPositionBuilderAtEnd(l->builder, body);
    return (EmLoop){header, exit, phi, llvm_value(phi, EM_INDEX, 1), em_index(e, step)};
}

static void em_loop_end(Emitter *e, EmLoop *loop) {
    LlvmEmitter *l = self(e);
    LLVMValueRef next = LLVMBuildNSWAdd(l->builder, loop->phi, loop->step.ref, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(l->builder);
    LLVMBuildBr(l->builder, loop->header);
    LLVMAddIncoming(loop->phi, &next, &latch, 1);
    LLVMPositionBuilderAtEnd(l->builder, loop->exit);
}

static void *em_repeat_begin(Emitter *e) {
    LLVMBasicBlockRef body = new_block(self(e));
    LLVMBuildBr(self(e)->builder, body);
    LLVMPositionBuilderAtEnd(self(e)->builder, body);
    return body;
}

static void em_repeat_end(Emitter *e, void *repeat, Em again) {
    LLVMBasicBlockRef exit = new_block(self(e));
    LLVMBuildCondBr(self(e)->builder, again.ref, repeat, exit);
    LLVMPositionBuilderAtEnd(self(e)->builder, exit);
}

static EmIf em_if_begin(Emitter *e, Em condition) {
    LlvmEmitter *l = self(e);
    LLVMBasicBlockRef then = new_block(l), exit = new_block(l);
    LLVMBuildCondBr(l->builder, condition.ref, then, exit);
    LLVMPositionBuilderAtEnd(l->builder, then);
    return (EmIf){exit};
}

static void em_if_end(Emitter *e, EmIf *branch) {
    LLVMBuildBr(self(e)->builder, branch->exit);
    LLVMPositionBuilderAtEnd(self(e)->builder, branch->exit);
}

static void em_call(Emitter *e, const char *name, const Em *args, int nargs) {
    LlvmEmitter *l = self(e);
    LLVMTypeRef types[8];
    LLVMValueRef refs[8];
    for (int i = 0; i < nargs; i++) {
        types[i] = llvm_type(l, args[i].type, args[i].lanes);
        refs[i] = args[i].ref;
    }
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(l->context), types, (unsigned)nargs, 0);
    LLVMValueRef f = LLVMGetNamedFunction(l->module, name);
    if (!f) f = LLVMAddFunction(l->module, name, type);
    LLVMBuildCall2(l->builder, type, f, refs, (unsigned)nargs, "");
}

/* ---- Functions ---- */

static void add_attribute(LlvmEmitter *l, const char *key, const char *value) {
    LLVMAttributeRef attribute =
        LLVMCreateStringAttribute(l->context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(l->function, LLVMAttributeFunctionIndex, attribute);
}

static void add_enum_attribute(LlvmEmitter *l, const char *name, LLVMAttributeIndex where) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(l->function, where, LLVMCreateEnumAttribute(l->context, kind, 0));
}

static void em_function_begin(Emitter *e, const char *name, const EmType *types, int count, Em *params) {
    LlvmEmitter *l = self(e);
    LLVMTypeRef refs[8];
    char bits[16];
    for (int i = 0; i < count; i++) refs[i] = llvm_type(l, types[i], 1);
    l->function = LLVMGetNamedFunction(l->module, name); /* declared where it was called before */
    if (!l->function)
        l->function = LLVMAddFunction(
            l->module, name, LLVMFunctionType(LLVMVoidTypeInContext(l->context), refs, (unsigned)count, 0));
    snprintf(bits, sizeof bits, "%d", l->base.vector_bytes * 8);
    add_attribute(l, "prefer-vector-width", bits);
    add_attribute(l, "min-legal-vector-width", bits);
    add_attribute(l, "target-cpu", l->target->cpu);
    add_attribute(l, "target-features", l->target->features);
    add_enum_attribute(l, "nounwind", LLVMAttributeFunctionIndex);
    l->entry = new_block(l);
    LLVMBasicBlockRef body = new_block(l);
    LLVMPositionBuilderAtEnd(l->builder, l->entry);
    LLVMBuildBr(l->builder, body);
    LLVMPositionBuilderAtEnd(l->builder, body);
    for (int i = 0; i < count; i++) {
        params[i] = llvm_value(LLVMGetParam(l->function, (unsigned)i), types[i], 1);
        if (types[i] == EM_POINTER) add_enum_attribute(l, "noalias", (LLVMAttributeIndex)i + 1);
    }
}

static void em_function_end(Emitter *e) {
    LLVMBuildRetVoid(self(e)->builder);
}

static const EmitterOps llvm_ops = {
    .function_begin = em_function_begin,
    .function_end = em_function_end,
    .constant = em_constant,
    .index = em_index,
    .index_op = em_index_op,
    .index_less = em_index_less,
    .index_lanes = em_index_lanes,
    .convert = em_convert,
    .round_to = em_round_to,
    .pointwise = llvm_pointwise,
    .arith = llvm_arith,
    .fma = em_fma,
    .fnma = em_fnma,
    .select = llvm_select,
    .splat = llvm_splat,
    .reduce = em_reduce,
    .interleave = em_interleave,
    .reverse = em_reverse,
    .transpose = em_transpose,
    .sum_lanes = em_sum_lanes,
    .table = em_table,
    .pointer = em_pointer,
    .load_pointer = em_load_pointer,
    .load = em_load,
    .store = em_store,
    .gather = em_gather,
    .prefetch = em_prefetch,
    .load_complex = em_load_complex,
    .store_complex = em_store_complex,
    .variable = em_variable,
    .get = em_get,
    .set = em_set,
    .loop_begin = em_loop_begin,
    .loop_end = em_loop_end,
    .repeat_begin = em_repeat_begin,
    .repeat_end = em_repeat_end,
    .if_begin = em_if_begin,
    .if_end = em_if_end,
    .call = em_call,
};

LlvmEmitter *llvm_emitter_create(const HostTarget *target) {
    LlvmEmitter *l = mem_calloc(1, sizeof *l);
    if (!l) return NULL;
    l->base.ops = &llvm_ops;
    l->base.vector_bytes = target->vector_bytes;
    l->target = target;
    l->context = LLVMContextCreate();
    l->module = LLVMModuleCreateWithNameInContext("frax", l->context);
    l->builder = LLVMCreateBuilderInContext(l->context);
    LLVMSetTarget(l->module, target->triple);
    return l;
}

Emitter *llvm_emitter_base(LlvmEmitter *l) {
    return &l->base;
}

FraxStatus llvm_emitter_finish(LlvmEmitter *l, LLVMContextRef *context, LLVMModuleRef *module,
                               FraxError *err) {
    char *message = NULL;
    FraxStatus status = FRAX_OK;
    if (l->out_of_memory) return fail_memory(err, "emitting code");
    if (LLVMVerifyModule(l->module, LLVMReturnStatusAction, &message))
        status = fail(err, FRAX_INTERNAL, "generated code is malformed: %s", message);
    LLVMDisposeMessage(message);
    if (status) return status;
    *context = l->context;
    *module = l->module;
    l->context = NULL;
    l->module = NULL;
    return FRAX_OK;
}

void llvm_emitter_destroy(LlvmEmitter *l) {
    if (!l) return;
    LLVMDisposeBuilder(l->builder);
    if (l->module) LLVMDisposeModule(l->module);
    if (l->context) LLVMContextDispose(l->context);
    mem_free(l);
}
