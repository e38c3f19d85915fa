/* llvm_math.c — pointwise ops as LLVM code. Vectors of exp are computed in place; the other elementary
 * functions call libmvec at the target's vector width, or libm lane by lane where the machine's libmvec lacks
 * them.
 */
#include "kernel_math.h"
#include "llvm_internal.h"
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

/* ---- Functions that generated code may call ---- */

static void *vector_library;
static pthread_once_t vector_library_once = PTHREAD_ONCE_INIT;

static void open_vector_library(void) {
    vector_library = dlopen("libmvec.so.1", RTLD_NOW | RTLD_LOCAL);
}

static void *vector_function(const char *symbol) {
    pthread_once(&vector_library_once, open_vector_library);
    return vector_library ? dlsym(vector_library, symbol) : NULL;
}

bool vector_function_exists(const char *symbol) {
    return vector_function(symbol) != NULL;
}

void *math_symbol(const char *name) {
    if (!strcmp(name, "frax_kernel_lgamma")) return (void *)frax_kernel_lgamma;
    if (!strcmp(name, "frax_kernel_polygamma")) return (void *)frax_kernel_polygamma;
    if (!strcmp(name, "frax_kernel_complex_lgamma")) return (void *)frax_kernel_complex_lgamma;
    if (!strcmp(name, "frax_kernel_mittag_leffler")) return (void *)frax_kernel_mittag_leffler;
    return vector_function(name);
}

/* ---- Calls ---- */

enum { MOST_SCALARS = 5 }; /* arguments of a function */

static LlvmEmitter *self(Emitter *e) {
    return (LlvmEmitter *)e;
}

static LLVMValueRef call(LlvmEmitter *l, const char *name, LLVMTypeRef type, LLVMValueRef *args, int nargs) {
    LLVMTypeRef types[MOST_SCALARS] = {type, type, type, type, type};
    LLVMTypeRef signature = LLVMFunctionType(type, types, (unsigned)nargs, 0);
    LLVMValueRef f = LLVMGetNamedFunction(l->module, name);
    if (!f) f = LLVMAddFunction(l->module, name, signature);
    return LLVMBuildCall2(l->builder, signature, f, args, (unsigned)nargs, "");
}

/* Lanes [first, first + count) of v. */
static LLVMValueRef lanes_of(LlvmEmitter *l, Em v, int first, int count) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context);
    LLVMValueRef order[64];
    if (count == v.lanes) return v.ref;
    if (count == 1)
        return LLVMBuildExtractElement(l->builder, v.ref, LLVMConstInt(i32, (unsigned)first, 0), "");
    for (int i = 0; i < count; i++) order[i] = LLVMConstInt(i32, (unsigned)(first + i), 0);
    return LLVMBuildShuffleVector(l->builder, v.ref, LLVMGetPoison(LLVMTypeOf(v.ref)),
                                  LLVMConstVector(order, (unsigned)count), "");
}

/* Puts `part` (count lanes) into lanes [first, first + count) of `whole`. */
static LLVMValueRef put_lanes(LlvmEmitter *l, Em whole, LLVMValueRef part, int first, int count) {
    LLVMTypeRef i32 = LLVMInt32TypeInContext(l->context);
    LLVMValueRef widen[64], merge[64];
    if (count == whole.lanes) return part;
    if (count == 1)
        return LLVMBuildInsertElement(l->builder, whole.ref, part, LLVMConstInt(i32, (unsigned)first, 0), "");
    for (int i = 0; i < whole.lanes; i++) {
        widen[i] = LLVMConstInt(i32, (unsigned)MIN(i, count - 1), 0);
        bool inside = i >= first && i < first + count;
        merge[i] = LLVMConstInt(i32, (unsigned)(inside ? whole.lanes + i - first : i), 0);
    }
    LLVMValueRef wide = LLVMBuildShuffleVector(l->builder, part, LLVMGetPoison(LLVMTypeOf(part)),
                                               LLVMConstVector(widen, (unsigned)whole.lanes), "");
    return LLVMBuildShuffleVector(l->builder, whole.ref, wide, LLVMConstVector(merge, (unsigned)whole.lanes),
                                  "");
}

/* The widest vector form of libm's `name` with at most `lanes` lanes: "_ZGVeN16v_expf"; its lanes, or 1 if
 * there is none. */
static int vector_form(const LlvmEmitter *l, const char *name, EmType type, int nargs, int lanes,
                       char symbol[64]) {
    static const struct {
        char isa;
        int bytes;
    } forms[] = {{'e', 64}, {'d', 32}, {'b', 16}};
    int size = type == EM_F64 ? 8 : 4;
    for (size_t i = 0; i < COUNT(forms); i++) {
        char isa = forms[i].isa;
        if (l->target->vector_isa == 'n') {
            if (forms[i].bytes != 16) continue;
            isa = 'n';
        } else if (!l->target->vector_isa || forms[i].bytes > l->target->vector_bytes) {
            continue;
        }
        int width = forms[i].bytes / size;
        if (width > lanes) continue;
        snprintf(symbol, 64, "_ZGV%cN%d%s_%s%s", isa, width, nargs == 2 ? "vv" : "v", name,
                 type == EM_F64 ? "" : "f");
        if (vector_function_exists(symbol)) return width;
    }
    return 1;
}

/* libm's `name` on all lanes. */
static Em call_math(Emitter *e, const char *name, const Em *args, int nargs) {
    LlvmEmitter *l = self(e);
    Em r = args[0];
    char symbol[64];
    int width = r.lanes > 1 ? vector_form(l, name, r.type, nargs, r.lanes, symbol) : 1;
    if (width == 1) snprintf(symbol, sizeof symbol, "%s%s", name, r.type == EM_F64 ? "" : "f");
    r.ref = r.lanes > 1 ? LLVMGetPoison(llvm_type(l, r.type, r.lanes)) : NULL;
    for (int first = 0; first < r.lanes; first += width) {
        LLVMValueRef parts[2];
        for (int a = 0; a < nargs; a++) parts[a] = lanes_of(l, args[a], first, width);
        LLVMValueRef part = call(l, symbol, llvm_type(l, r.type, width), parts, nargs);
        r.ref = r.lanes == 1 ? part : put_lanes(l, r, part, first, width);
    }
    return r;
}

/* A runtime function of doubles, lane by lane: the constants first, then the operands. */
typedef struct ScalarCall {
    const char *name;
    int nconstants, nargs;
    double constants[2];
} ScalarCall;

static Em call_scalar(Emitter *e, const ScalarCall *f, const Em *operands) {
    LlvmEmitter *l = self(e);
    LLVMTypeRef f64 = llvm_type(l, EM_F64, 1);
    LLVMValueRef args[MOST_SCALARS];
    Em x[3], r = {0};
    for (int a = 0; a < f->nargs; a++) x[a] = e->ops->convert(e, operands[a], EM_F64);
    for (int c = 0; c < f->nconstants; c++) args[c] = LLVMConstReal(f64, f->constants[c]);
    r = x[0];
    r.ref = r.lanes > 1 ? LLVMGetPoison(llvm_type(l, EM_F64, r.lanes)) : NULL;
    for (int i = 0; i < r.lanes; i++) {
        for (int a = 0; a < f->nargs; a++) args[f->nconstants + a] = lanes_of(l, x[a], i, 1);
        LLVMValueRef y = call(l, f->name, f64, args, f->nconstants + f->nargs);
        r.ref = r.lanes == 1 ? y : put_lanes(l, r, y, i, 1);
    }
    return e->ops->convert(e, r, operands[0].type);
}

static Em special_function(Emitter *e, const Node *node, const Em *args) {
    double n = (double)node->attrs->n;
    switch (node->op) {
    case OP_lgamma: return call_scalar(e, &(ScalarCall){"frax_kernel_lgamma", 0, 1, {0}}, args);
    case OP_polygamma: return call_scalar(e, &(ScalarCall){"frax_kernel_polygamma", 1, 1, {n}}, args);
    case OP_complex_lgamma:
        return call_scalar(e, &(ScalarCall){"frax_kernel_complex_lgamma", 2, 2, {n, node->attrs->part}},
                           args);
    default:
        return call_scalar(e, &(ScalarCall){"frax_kernel_mittag_leffler", 2, 3, {n, (double)node->attrs->m}},
                           args);
    }
}

/* ---- Ops ---- */

static Em constant_like(Emitter *e, Em x, double value) {
    return llvm_splat(e, e->ops->constant(e, x.type, value), x.lanes);
}

static Em intrinsic1(Emitter *e, const char *name, Em x) {
    LLVMTypeRef type = llvm_type(self(e), x.type, x.lanes);
    return llvm_value(llvm_intrinsic(self(e), name, &type, 1, (LLVMValueRef[]){x.ref}, 1), x.type, x.lanes);
}

static Em negate(Emitter *e, Em x) {
    LLVMBuilderRef b = self(e)->builder;
    bool real = x.type == EM_F64 || x.type == EM_F32;
    return llvm_value(real ? LLVMBuildFNeg(b, x.ref, "") : LLVMBuildNeg(b, x.ref, ""), x.type, x.lanes);
}

/* −1, 0, 1; NaN stays. */
static Em sign(Emitter *e, Em x) {
    Em zero = constant_like(e, x, 0);
    Em below = llvm_select(e, llvm_arith(e, OP_lt, x, zero), constant_like(e, x, -1), zero);
    Em r = llvm_select(e, llvm_arith(e, OP_gt, x, zero), constant_like(e, x, 1), below);
    if (x.type == EM_I32) return r;
    return llvm_select(e, llvm_arith(e, OP_ne, x, x), x, r);
}

static Em absolute(Emitter *e, Em x) {
    if (x.type != EM_I32) return intrinsic1(e, "llvm.fabs", x);
    return llvm_select(e, llvm_arith(e, OP_lt, x, constant_like(e, x, 0)), negate(e, x), x);
}

/* ---- Exponentials of vectors, in place: a call would spill every register around it ---- */

/* e^x = 2^n e^r with n = round(x/ln 2) and |r| <= ln 2/2 (Cody & Waite 1980, ch. 6). e^r = 1 + r + r^2 q(r),
   q the minimax polynomial of the relative error (Remez), which is 3e-9 in f32 and 4e-18 in f64. */
typedef struct ExpTable {
    double least, most;       /* beyond them the result is 0 or infinite */
    double shifter;           /* adding it rounds to an integer, which then stands in the low bits */
    double ln2_high, ln2_low; /* n·ln2_high is exact */
    int mantissa, bias, degree;
    double q[10];
} ExpTable;

static const ExpTable exp_f32 = {-104,
                                 89,
                                 0x1.8p23,
                                 0x1.63p-1,
                                 -0x1.bd0105c610ca8p-13,
                                 23,
                                 127,
                                 4,
                                 {0.4999999344779648683, 0.1666652063170949689, 0.04166838804531399666,
                                  0.008368716879728139947, 0.001381459864666403445}};

static const ExpTable exp_f64 = {-746,
                                 710,
                                 0x1.8p52,
                                 0x1.62e42fee00000p-1,
                                 0x1.a39ef35793c76p-33,
                                 52,
                                 1023,
                                 9,
                                 {0.5000000000000010627, 0.1666666666666641252, 0.04166666666653015859,
                                  0.008333333333494461664, 0.001388888894363011295, 0.0001984126950657868765,
                                  0.00002480149309890655066, 2.755758637384016369e-6, 2.763024837921144398e-7,
                                  2.50000616028356667e-8}};

/* 2^n as a float whose bits are (n + bias) << mantissa. */
static Em power_of_two(Emitter *e, const ExpTable *t, LLVMValueRef n, Em like) {
    LLVMBuilderRef b = self(e)->builder;
    LLVMTypeRef type = LLVMTypeOf(n), scalar = LLVMGetElementType(type);
    LLVMValueRef bias = llvm_all_lanes(type, LLVMConstInt(scalar, (unsigned)t->bias, 0));
    LLVMValueRef mantissa = llvm_all_lanes(type, LLVMConstInt(scalar, (unsigned)t->mantissa, 0));
    LLVMValueRef bits = LLVMBuildShl(b, LLVMBuildAdd(b, n, bias, ""), mantissa, "");
    return llvm_value(LLVMBuildBitCast(b, bits, LLVMTypeOf(like.ref), ""), like.type, like.lanes);
}

/* y·2^n in two factors, since 2^n alone may be out of range where y·2^n is not. n: the shifted sum's low
 * bits. */
static Em scale_by_power(Emitter *e, const ExpTable *t, Em y, Em shifted) {
    LlvmEmitter *l = self(e);
    LLVMBuilderRef b = l->builder;
    LLVMTypeRef scalar =
        y.type == EM_F64 ? LLVMInt64TypeInContext(l->context) : LLVMInt32TypeInContext(l->context);
    LLVMTypeRef bits = LLVMVectorType(scalar, (unsigned)y.lanes);
    LLVMValueRef zero = LLVMBuildBitCast(b, constant_like(e, y, t->shifter).ref, bits, "");
    LLVMValueRef n = LLVMBuildSub(b, LLVMBuildBitCast(b, shifted.ref, bits, ""), zero, "");
    LLVMValueRef half = LLVMBuildAShr(b, n, llvm_all_lanes(bits, LLVMConstInt(scalar, 1, 0)), "");
    Em first = power_of_two(e, t, half, y), second = power_of_two(e, t, LLVMBuildSub(b, n, half, ""), y);
    return llvm_arith(e, OP_mul, llvm_arith(e, OP_mul, y, first), second);
}

static Em exponential(Emitter *e, Em x) {
    const ExpTable *t = x.type == EM_F64 ? &exp_f64 : &exp_f32;
    if (x.lanes == 1) return call_math(e, "exp", &x, 1);
    /* In this order a NaN stays. */
    Em least = constant_like(e, x, t->least), most = constant_like(e, x, t->most);
    x = llvm_select(e, llvm_arith(e, OP_lt, x, least), least, x);
    x = llvm_select(e, llvm_arith(e, OP_gt, x, most), most, x);
    Em shifter = constant_like(e, x, t->shifter);
    Em shifted = e->ops->fma(e, x, constant_like(e, x, M_LOG2E), shifter);
    Em n = llvm_arith(e, OP_sub, shifted, shifter);
    Em r = e->ops->fma(e, n, constant_like(e, x, -t->ln2_high), x);
    r = e->ops->fma(e, n, constant_like(e, x, -t->ln2_low), r);
    Em q = constant_like(e, x, t->q[t->degree]);
    for (int i = t->degree - 1; i >= 0; i--) q = e->ops->fma(e, q, r, constant_like(e, x, t->q[i]));
    q = e->ops->fma(e, llvm_arith(e, OP_mul, r, r), q, r);
    return scale_by_power(e, t, llvm_arith(e, OP_add, q, constant_like(e, x, 1)), shifted);
}

/* 1/(1 + e^−x): overflow of e^−x gives the right limit 0. */
static Em sigmoid(Emitter *e, Em x) {
    Em one = constant_like(e, x, 1), minus = negate(e, x);
    return llvm_arith(e, OP_div, one, llvm_arith(e, OP_add, one, exponential(e, minus)));
}

static Em not_(Emitter *e, Em x) {
    return llvm_value(LLVMBuildNot(self(e)->builder, x.ref, ""), EM_BOOL, x.lanes);
}

/* The libm function of an op, or NULL. */
static const char *math_name(Op op) {
    switch (op) {
    case OP_expm1: return "expm1";
    case OP_log: return "log";
    case OP_log1p: return "log1p";
    case OP_sin: return "sin";
    case OP_cos: return "cos";
    case OP_tanh: return "tanh";
    case OP_erf: return "erf";
    case OP_pow: return "pow";
    case OP_atan2: return "atan2";
    default: return NULL;
    }
}

static Em pointwise(Emitter *e, const Node *node, const Em *given) {
    Em args[3];
    int lanes = 1;
    for (int i = 0; i < node->nargs; i++) lanes = MAX(lanes, given[i].lanes);
    for (int i = 0; i < node->nargs; i++) args[i] = llvm_splat(e, given[i], lanes);
    const char *name = math_name(node->op);
    if (name) return call_math(e, name, args, node->nargs);
    switch (node->op) {
    case OP_exp: return exponential(e, args[0]);
    case OP_neg: return negate(e, args[0]);
    case OP_abs: return absolute(e, args[0]);
    case OP_sign: return sign(e, args[0]);
    case OP_floor: return intrinsic1(e, "llvm.floor", args[0]);
    case OP_sqrt: return intrinsic1(e, "llvm.sqrt", args[0]);
    case OP_rsqrt:
        return llvm_arith(e, OP_div, constant_like(e, args[0], 1), intrinsic1(e, "llvm.sqrt", args[0]));
    case OP_sigmoid: return sigmoid(e, args[0]);
    case OP_lgamma:
    case OP_polygamma:
    case OP_complex_lgamma:
    case OP_mittag_leffler: return special_function(e, node, args);
    case OP_uniform: return llvm_uniform(e, node, args);
    case OP_not: return not_(e, args[0]);
    case OP_cast: return e->ops->convert(e, args[0], em_type_of(node->type.dtype));
    case OP_stop: return args[0];
    case OP_select: return llvm_select(e, args[0], args[1], args[2]);
    default: return llvm_arith(e, node->op, args[0], args[1]);
    }
}

Em llvm_pointwise(Emitter *e, const Node *node, const Em *args) {
    self(e)->rounds_each = true;
    Em result = pointwise(e, node, args);
    self(e)->rounds_each = false;
    return result;
}
