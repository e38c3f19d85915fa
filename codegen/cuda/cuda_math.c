/* cuda_math.c — arithmetic, conversions and pointwise ops of the CUDA emitter. Elementary functions are
 * CUDA's own, at full accuracy; Gamma and Mittag-Leffler functions are frax's (ir/special.c), as device code.
 */
#include "cuda_emitter.h"

static bool is_float(EmType type) {
    return type == EM_F64 || type == EM_F32;
}

/* ---- Arithmetic: what these ops mean is said in ir.h; NaN in either operand of an extremum gives NaN ----
 */

static const char *arithmetic_form(Op op, EmType type) {
    switch (op) {
    case OP_add:
    case OP_sum: return type == EM_I32 ? "(int)((unsigned)$a + (unsigned)$b)" : "$a + $b";
    case OP_sub: return type == EM_I32 ? "(int)((unsigned)$a - (unsigned)$b)" : "$a - $b";
    case OP_mul: return type == EM_I32 ? "(int)((unsigned)$a * (unsigned)$b)" : "$a * $b";
    case OP_div: return "$a / $b";
    case OP_min:
    case OP_reduce_min: return is_float(type) ? "$a != $a || $a < $b ? $a : $b" : "$a < $b ? $a : $b";
    case OP_max:
    case OP_reduce_max: return is_float(type) ? "$a != $a || $a > $b ? $a : $b" : "$a > $b ? $a : $b";
    case OP_and: return "$a & $b";
    case OP_or: return "$a | $b";
    case OP_eq: return "$a == $b";
    case OP_ne: return "$a != $b";
    case OP_lt: return "$a < $b";
    case OP_le: return "$a <= $b";
    case OP_gt: return "$a > $b";
    default: return "$a >= $b";
    }
}

Em cuda_arith(Emitter *e, Op op, Em a, Em b) {
    bool compares = op >= OP_eq && op <= OP_ge;
    return cuda_define(cuda_self(e), compares ? EM_BOOL : a.type, MAX(a.lanes, b.lanes),
                       arithmetic_form(op, a.type), (Em[]){a, b});
}

/* ---- Conversion: to an integer toward zero, saturating, NaN to 0 ---- */

Em cuda_convert(Emitter *e, Em v, EmType type) {
    const char *form = "$a";
    if (v.type == type) return v;
    if (type == EM_BOOL)
        form = "$a != 0";
    else if (is_float(v.type) && !is_float(type))
        form = v.type == EM_F64 ? "f64_to_i32($a)" : "f32_to_i32($a)";
    else if (type == EM_F64)
        form = "(double)$a";
    else if (type == EM_F32)
        form = "(float)$a";
    else
        form = type == EM_INDEX ? "(idx)$a" : "(int)$a";
    return cuda_define(cuda_self(e), type, v.lanes, form, &v);
}

/* ---- Ops ---- */

/* An op as f64 and f32 code. */
typedef struct Function {
    Op op;
    const char *f64, *f32;
} Function;

/* NVRTC contracts what is written as + and *: not these, so that a value has the same bits wherever it is
 * computed. */
static const Function functions[] = {
    {OP_add, "__dadd_rn($a, $b)", "__fadd_rn($a, $b)"},
    {OP_sub, "__dsub_rn($a, $b)", "__fsub_rn($a, $b)"},
    {OP_mul, "__dmul_rn($a, $b)", "__fmul_rn($a, $b)"},
    {OP_exp, "exp($a)", "expf($a)"},
    {OP_expm1, "expm1($a)", "expm1f($a)"},
    {OP_log, "log($a)", "logf($a)"},
    {OP_log1p, "log1p($a)", "log1pf($a)"},
    {OP_sin, "sin($a)", "sinf($a)"},
    {OP_cos, "cos($a)", "cosf($a)"},
    {OP_tanh, "tanh($a)", "tanhf($a)"},
    {OP_erf, "erf($a)", "erff($a)"},
    {OP_sqrt, "sqrt($a)", "sqrtf($a)"},
    {OP_floor, "floor($a)", "floorf($a)"},
    {OP_pow, "pow($a, $b)", "powf($a, $b)"},
    {OP_atan2, "atan2($a, $b)", "atan2f($a, $b)"},
    {OP_rsqrt, "1.0 / sqrt($a)", "1.0f / sqrtf($a)"},
    {OP_sigmoid, "1.0 / __dadd_rn(1.0, exp(-$a))", "1.0f / __fadd_rn(1.0f, expf(-$a))"},
    {OP_neg, "-$a", "-$a"},
    {OP_abs, "fabs($a)", "fabsf($a)"},
    {OP_sign, "$a > 0 ? 1 : $a < 0 ? -1 : $a", "$a > 0 ? 1 : $a < 0 ? -1 : $a"}, /* NaN stays */
};

static Em special_function(Emitter *e, const Node *node, const Em *args, int lanes) {
    static const char *const names[] = {"lgamma", "polygamma", "complex_lgamma", "mittag_leffler"};
    CudaEmitter *c = cuda_self(e);
    int which = node->op == OP_lgamma           ? 0
                : node->op == OP_polygamma      ? 1
                : node->op == OP_complex_lgamma ? 2
                                                : 3;
    char form[128], numbers[64] = "";
    if (which) snprintf(numbers, sizeof numbers, "%lld, ", (long long)node->attrs->n);
    if (which >= 2)
        snprintf(numbers, sizeof numbers, "%lld, %lld, ", (long long)node->attrs->n,
                 which == 2 ? (long long)node->attrs->part : (long long)node->attrs->m);
    snprintf(form, sizeof form, "(%s)frax_kernel_%s(%s%s)", cuda_type(args[0].type), names[which], numbers,
             node->nargs == 1   ? "(double)$a"
             : node->nargs == 2 ? "(double)$a, (double)$b"
                                : "(double)$a, (double)$b, (double)$c");
    c->needs_special = true;
    return cuda_define(c, args[0].type, lanes, form, args);
}

static Em uniform(Emitter *e, const Node *node, const Em *args, int lanes) {
    CudaEmitter *c = cuda_self(e);
    bool wide = node->type.dtype == FRAX_F64;
    char form[96];
    snprintf(form, sizeof form, "uniform_%s($a, $b, $c, %lluu, %d)", wide ? "f64" : "f32",
             (unsigned long long)node->attrs->n, (int)node->attrs->m);
    c->needs_random = true;
    return cuda_define(c, wide ? EM_F64 : EM_F32, lanes, form, args);
}

static Em integer_op(Emitter *e, Op op, Em x) {
    const char *form = op == OP_neg   ? "(int)(0u - (unsigned)$a)"
                       : op == OP_abs ? "$a < 0 ? (int)(0u - (unsigned)$a) : $a"
                                      : "($a > 0) - ($a < 0)";
    return cuda_define(cuda_self(e), x.type, x.lanes, form, &x);
}

Em cuda_pointwise(Emitter *e, const Node *node, const Em *args) {
    CudaEmitter *c = cuda_self(e);
    int lanes = 1;
    for (int i = 0; i < node->nargs; i++) lanes = MAX(lanes, args[i].lanes);
    if (args[0].type == EM_I32 && (node->op == OP_neg || node->op == OP_abs || node->op == OP_sign))
        return integer_op(e, node->op, args[0]);
    for (size_t i = 0; i < COUNT(functions) && args[0].type != EM_I32; i++)
        if (functions[i].op == node->op)
            return cuda_define(c, args[0].type, lanes,
                               args[0].type == EM_F64 ? functions[i].f64 : functions[i].f32, args);
    switch (node->op) {
    case OP_lgamma:
    case OP_polygamma:
    case OP_complex_lgamma:
    case OP_mittag_leffler: return special_function(e, node, args, lanes);
    case OP_uniform: return uniform(e, node, args, lanes);
    case OP_not: return cuda_define(c, EM_BOOL, lanes, "!$a", args);
    case OP_cast: return cuda_convert(e, args[0], em_type_of(node->type.dtype));
    case OP_stop: return args[0];
    case OP_select: return e->ops->select(e, args[0], args[1], args[2]);
    default: return cuda_arith(e, node->op, args[0], args[1]);
    }
}
