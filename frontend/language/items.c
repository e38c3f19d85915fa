/* items.c — items into values: numbers adopt dtypes, shapes broadcast as in NumPy, operators become nodes.
 *
 * The graph knows neither numbers without dtype nor broadcasting; both end here. An expression of numbers
 * alone stays a number, computed in f64 (whole numbers exactly), so that it can be a size as well as an
 * operand.
 */
#include "lower.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- Faults ---- */

Value lower_fail(Lower *lw, FraxStatus status, const char *fmt, ...) {
    char message[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    return graph_fail(lw->g, status, "%s", message);
}

Item item_fail(Lower *lw, FraxStatus status, const char *fmt, ...) {
    char message[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    graph_fail(lw->g, status, "%s", message);
    return (Item){0};
}

void *lower_alloc(Lower *lw, size_t bytes) {
    void *memory = arena_alloc(&lw->g->arena, bytes);
    if (!memory) lower_fail(lw, FRAX_MEMORY, "out of memory while building model %s", lw->g->name);
    return memory;
}

Value fail_unknown(Lower *lw, const char *where, const char *what, const char *name, const char *const *names,
                   size_t n) {
    const char *near = nearest_name(name, names, n);
    Text list = {0};
    for (size_t i = 0; i < n; i++) text_printf(&list, "%s%s", i ? ", " : "", names[i]);
    lower_fail(lw, FRAX_NAME, "%s: unknown %s '%s'; %s%s%sexpected %s%.500s", where, what, name,
               near ? "did you mean '" : "", near ? near : "", near ? "'? " : "", n > 1 ? "one of " : "",
               list.data ? list.data : "none");
    text_free(&list);
    return NO_VALUE;
}

/* ---- Numbers ---- */

Number number_whole(int64_t integer) {
    return (Number){.value = (double)integer, .integer = integer, .whole = true};
}

Number number_real(double value) {
    return (Number){.value = value};
}

static bool whole_binary(char op, int64_t a, int64_t b, int64_t *result) {
    switch (op) {
    case '+': return !__builtin_add_overflow(a, b, result);
    case '-': return !__builtin_sub_overflow(a, b, result);
    case '*': return !mul_overflows(a, b, result);
    case '/':
        if (b == 0 || (a == INT64_MIN && b == -1) || a % b) return false;
        *result = a / b;
        return true;
    case '^':
        *result = 1;
        if (b < 0 || b > 63) return false;
        for (int64_t i = 0; i < b; i++)
            if (mul_overflows(*result, a, result)) return false;
        return true;
    default: return false;
    }
}

bool number_binary(const char *op, Number a, Number b, Number *result) {
    int64_t integer;
    if (op[1] || !strchr("+-*/^", op[0])) return false;
    if (a.whole && b.whole && whole_binary(op[0], a.integer, b.integer, &integer)) {
        *result = number_whole(integer);
        return true;
    }
    switch (op[0]) {
    case '+': *result = number_real(a.value + b.value); break;
    case '-': *result = number_real(a.value - b.value); break;
    case '*': *result = number_real(a.value * b.value); break;
    case '/': *result = number_real(a.value / b.value); break;
    default: *result = number_real(pow(a.value, b.value));
    }
    return true;
}

Item item_number(Number number) {
    return (Item){.kind = ITEM_NUMBER, .number = number};
}

Item item_value(Value v) {
    return (Item){.kind = v == NO_VALUE ? ITEM_NOTHING : ITEM_VALUE, .value = v};
}

static Item item_truth(bool truth) {
    return (Item){.kind = ITEM_TRUTH, .number = number_whole(truth)};
}

bool is_number(const Item *item) {
    return item->kind == ITEM_NUMBER || item->kind == ITEM_TRUTH;
}

/* Constants that are not finite come from a fault in the model, not from its data. */
static Item finite_number(Lower *lw, const char *what, Number number) {
    if (isfinite(number.value)) return item_number(number);
    return item_fail(lw, FRAX_VALUE, "%s of these numbers gives %s, expected a finite number", what,
                     isnan(number.value) ? "NaN" : "infinity");
}

/* ---- Numbers become constants ---- */

/* Largest finite values; bf16 has f32's range (with 8 bits of fraction). */
static double largest(FraxDType dtype) {
    switch (dtype) {
    case FRAX_F64: return DBL_MAX;
    case FRAX_F32: return FLT_MAX;
    case FRAX_BF16: return 3.3895313892515355e38;
    case FRAX_F16: return 65504;
    default: return INT32_MAX;
    }
}

static bool number_fits(Lower *lw, const Item *item, FraxDType dtype) {
    double v = item->number.value;
    char text[32], limit[32];
    const char *name = frax_dtype_name(dtype);
    if ((item->kind == ITEM_TRUTH) != (dtype == FRAX_BOOL))
        lower_fail(lw, FRAX_TYPE,
                   item->kind == ITEM_TRUTH ? "true and false do not mix with %s"
                                            : "a number does not mix with %s; compare first, as in x > 0",
                   name);
    else if (dtype == FRAX_I32 && v != floor(v))
        lower_fail(lw, FRAX_TYPE, "%.17g does not mix with i32; convert the array first, as in cast(x, f32)",
                   v);
    else if (dtype != FRAX_BOOL && fabs(v) > largest(dtype))
        lower_fail(lw, FRAX_VALUE, "%s is beyond the range of %s (±%s)", double_text(v, text), name,
                   double_text(largest(dtype), limit));
    return !failed(lw);
}

static Value constant(Lower *lw, const Item *item, Type type) {
    return number_fits(lw, item, type.dtype) ? g_constant(lw->g, type, item->number.value) : NO_VALUE;
}

static Value not_an_array(Lower *lw, const Item *item) {
    if (item->kind == ITEM_NOTHING && failed(lw)) return NO_VALUE;
    return lower_fail(lw, FRAX_TYPE, "expected an array or a number, got %s",
                      item->kind == ITEM_TUPLE  ? "a tuple"
                      : item->kind == ITEM_WORD ? "a word"
                                                : "none");
}

Value to_value(Lower *lw, Item item, FraxDType dtype) {
    if (failed(lw)) return NO_VALUE;
    if (item.kind == ITEM_VALUE) return item.value;
    if (item.kind == ITEM_TRUTH) dtype = FRAX_BOOL;
    if (is_number(&item)) return constant(lw, &item, (Type){.dtype = dtype});
    return not_an_array(lw, &item);
}

Value any_value(Lower *lw, Item item) {
    return to_value(lw, item, FRAX_F64);
}

/* ---- One dtype, one shape ---- */

/* Of two that differ, what the other one may be converted to: a float rather than i32, i32 rather than bool.
 */
static FraxDType wider(FraxDType a, FraxDType b) {
    return dtype_is_float(a) || b == FRAX_BOOL ? a : b;
}

static bool common_dtype(Lower *lw, const char *what, const Item *items, int n, FraxDType *dtype) {
    const Item *first = NULL;
    *dtype = items[0].kind == ITEM_TRUTH ? FRAX_BOOL : FRAX_F64;
    for (int i = 0; i < n && !failed(lw); i++) {
        if (items[i].kind != ITEM_VALUE) {
            if (!is_number(&items[i])) not_an_array(lw, &items[i]);
            continue;
        }
        const Type *type = graph_type(lw->g, items[i].value);
        char a[176], b[176];
        if (first && type->dtype != *dtype)
            lower_fail(lw, FRAX_TYPE, "%s mixes %s and %s; convert one of them, as in cast(x, %s)", what,
                       type_text(graph_type(lw->g, first->value), a), type_text(type, b),
                       frax_dtype_name(wider(*dtype, type->dtype)));
        if (!first) *dtype = type->dtype;
        first = first ? first : &items[i];
    }
    return !failed(lw);
}

static bool common_shape(Lower *lw, const char *what, const Item *items, int n, Shape *shape) {
    *shape = SCALAR;
    for (int i = 0; i < n; i++) {
        if (items[i].kind != ITEM_VALUE) continue;
        const Type *type = graph_type(lw->g, items[i].value);
        char a[176], b[176];
        Type so_far = {type->dtype, *shape};
        if (!shape_broadcast(shape, &type->shape, shape)) {
            lower_fail(lw, FRAX_SHAPE,
                       "%s: %s and %s do not broadcast; sizes must be equal or 1, from the last axis", what,
                       type_text(&so_far, a), type_text(type, b));
            return false;
        }
    }
    return true;
}

bool unify(Lower *lw, const char *what, const Item *items, int n, Value *values) {
    Type type;
    if (failed(lw) || !common_dtype(lw, what, items, n, &type.dtype) ||
        !common_shape(lw, what, items, n, &type.shape))
        return false;
    for (int i = 0; i < n; i++)
        values[i] = is_number(&items[i]) ? constant(lw, &items[i], type)
                                         : g_broadcast_to(lw->g, items[i].value, type.shape);
    return !failed(lw);
}

/* ---- Operators ---- */

static bool keeps_whole(Op op) {
    return op == OP_neg || op == OP_abs || op == OP_sign || op == OP_floor || op == OP_min || op == OP_max;
}

static bool is_compare(Op op) {
    return op >= OP_eq && op <= OP_ge;
}

static bool is_logic(Op op) {
    return op == OP_and || op == OP_or || op == OP_not;
}

static bool are_truths(Lower *lw, const char *what, const Item *items, int n) {
    char text[176];
    for (int i = 0; i < n && !failed(lw); i++) {
        if (items[i].kind != ITEM_VALUE) continue;
        const Type *type = graph_type(lw->g, items[i].value);
        if (type->dtype != FRAX_BOOL)
            lower_fail(lw, FRAX_TYPE, "%s: got %s, expected bool; compare first, as in x > 0", what,
                       type_text(type, text));
    }
    return !failed(lw);
}

static Item pointwise_numbers(Lower *lw, const char *what, Op op, const Item *items, int n) {
    bool logic = is_logic(op), whole = op == OP_floor || keeps_whole(op);
    double args[3] = {0};
    for (int i = 0; i < n; i++) {
        args[i] = items[i].number.value;
        whole = whole && (items[i].number.whole || op == OP_floor);
        if ((items[i].kind == ITEM_TRUTH) != logic && !is_compare(op))
            return item_fail(lw, FRAX_TYPE, "%s: got a %s, expected a %s", what,
                             logic ? "number" : "truth value", logic ? "truth value" : "number");
    }
    Node node = {.op = op, .type = {.dtype = FRAX_F64}, .nargs = n, .attrs = &(Attrs){0}};
    double result = reference_pointwise(&node, args);
    if (logic || is_compare(op)) return item_truth(result != 0);
    if (whole && fabs(result) <= 9007199254740992.0) return item_number(number_whole((int64_t)result));
    return finite_number(lw, what, number_real(result));
}

/* The type rule's own message, under the name that the user wrote. */
static Item pointwise_fault(Lower *lw, const char *what, const FraxError *err, const Type *type) {
    const char *text = strstr(err->message, ": ");
    bool convert = err->status == FRAX_TYPE && type->dtype == FRAX_I32;
    return item_fail(lw, err->status, "%s%s%s", what, text ? text : ": wrong operands",
                     convert ? "; convert it with cast(x, f32)" : "");
}

Item pointwise(Lower *lw, const char *what, Op op, const Item *items, int n) {
    Value values[3];
    bool numbers = !failed(lw);
    for (int i = 0; i < n; i++) numbers = numbers && is_number(&items[i]);
    if (numbers) return pointwise_numbers(lw, what, op, items, n);
    if (is_logic(op) && !are_truths(lw, what, items, n)) return (Item){0};
    if (!unify(lw, what, items, n, values)) return (Item){0};
    Type type;
    FraxError err;
    if (infer_type(lw->g, op, values, n, &(Attrs){0}, NULL, &type, &err))
        return pointwise_fault(lw, what, &err, graph_type(lw->g, values[0]));
    return item_value(graph_emit(lw->g, op, values, n, NULL, NULL));
}

/* x^n for a whole n ≥ 0 by squaring. */
static Value power_by_squaring(Lower *lw, Value x, int64_t n) {
    Value result = NO_VALUE;
    if (n == 0) return g_like(lw->g, x, 1);
    for (;; n /= 2, x = g_mul(lw->g, x, x)) {
        if (n % 2) result = result == NO_VALUE ? x : g_mul(lw->g, result, x);
        if (n < 2) return result;
    }
}

/* Small whole exponents become products: exact for negative bases, defined for i32, and cheap. */
Item power(Lower *lw, Item a, Item b) {
    if (a.kind == ITEM_NUMBER && b.kind == ITEM_NUMBER) {
        Number result = {0};
        number_binary("^", a.number, b.number, &result);
        return finite_number(lw, "'^'", result);
    }
    if (a.kind == ITEM_VALUE && b.kind == ITEM_NUMBER && b.number.whole && b.number.integer >= 0) {
        FraxDType dtype = graph_type(lw->g, a.value)->dtype;
        if (b.number.integer <= (dtype == FRAX_I32 ? 31 : 4) && dtype != FRAX_BOOL)
            return item_value(power_by_squaring(lw, a.value, b.number.integer));
    }
    if (a.kind == ITEM_VALUE && b.kind == ITEM_NUMBER && b.number.value == 0.5)
        return pointwise(lw, "'^'", OP_sqrt, &a, 1);
    return pointwise(lw, "'^'", OP_pow, (Item[]){a, b}, 2);
}

/* ---- Matrix product ---- */

static Value matmul_fail(Lower *lw, Value a, Value b, const char *expected) {
    char ta[176], tb[176];
    const Type *left = graph_type(lw->g, a);
    bool dtypes = left->dtype != graph_type(lw->g, b)->dtype || !dtype_is_float(left->dtype);
    return lower_fail(lw, dtypes ? FRAX_TYPE : FRAX_SHAPE, "'@': got %s and %s, expected %s",
                      type_text(graph_type(lw->g, a), ta), type_text(graph_type(lw->g, b), tb), expected);
}

/* [m,k] @ [k,n] under equal batch axes. One matrix on the right of a batch needs no copies of it: the rows of
   the whole batch are one tall matrix. */
static Value matmul_batched(Lower *lw, Value a, Value b) {
    Graph *g = lw->g;
    Shape sa = *shape_of(lw, a), sb = *shape_of(lw, b), batch, grown = {0};
    if (sa.rank > 2 && sb.rank == 2) {
        Shape flat = {.rank = 2, .dims = {1, sa.dims[sa.rank - 1]}}, full = sa;
        for (int i = 0; i < sa.rank - 1; i++) flat.dims[0] *= sa.dims[i];
        full.dims[sa.rank - 1] = sb.dims[1];
        Value y = g_matmul(g, g_reshape(g, a, flat), b, false, false);
        if (y == NO_VALUE || shape_overflows(&full))
            return y == NO_VALUE ? y : matmul_fail(lw, a, b, "a smaller product");
        return g_reshape(g, y, full);
    }
    Shape outer_a = sa, outer_b = sb;
    outer_a.rank -= 2;
    outer_b.rank -= 2;
    if (!shape_broadcast(&outer_a, &outer_b, &batch))
        return matmul_fail(lw, a, b, "batch axes that broadcast");
    grown = batch;
    grown.rank += 2;
    memcpy(grown.dims + batch.rank, sa.dims + sa.rank - 2, 2 * sizeof(int64_t));
    a = g_broadcast_to(g, a, grown);
    memcpy(grown.dims + batch.rank, sb.dims + sb.rank - 2, 2 * sizeof(int64_t));
    return g_matmul(g, a, g_broadcast_to(g, b, grown), false, false);
}

/* NumPy's rules: a vector on the left is a row, on the right a column, and its axis is dropped again. */
Value matmul_values(Lower *lw, Value a, Value b) {
    if (failed(lw)) return NO_VALUE;
    Graph *g = lw->g;
    int ra = shape_of(lw, a)->rank, rb = shape_of(lw, b)->rank;
    if (ra == 0 || rb == 0) return matmul_fail(lw, a, b, "arrays with axes; scale with *");
    int64_t ka = shape_of(lw, a)->dims[ra - 1], kb = shape_of(lw, b)->dims[MAX(rb - 2, 0)];
    if (graph_type(g, a)->dtype != graph_type(g, b)->dtype)
        return matmul_fail(lw, a, b, "one dtype; convert one with cast(x, f32)");
    if (!dtype_is_float(graph_type(g, a)->dtype))
        return matmul_fail(lw, a, b, "a floating dtype; convert both with cast(x, f32)");
    if (ka != kb) return matmul_fail(lw, a, b, "[…,m,k] and [k,n] or […,k,n], with equal k");
    if (ra == 1) a = g_unsqueeze(g, a, 1);
    if (rb == 1) b = g_unsqueeze(g, b, 2);
    Value y = matmul_batched(lw, a, b);
    if (y == NO_VALUE) return y;
    int rank = shape_of(lw, y)->rank;
    return g_squeeze(g, y, (ra == 1 ? 1u << (rank - 2) : 0) | (rb == 1 ? 1u << (rank - 1) : 0));
}

/* ---- Operators by their text ---- */

Item binary_operator(Lower *lw, const char *op, Item a, Item b) {
    static const struct {
        const char *text, *what;
        Op op;
    } operators[] = {{"+", "'+'", OP_add},  {"-", "'-'", OP_sub},     {"*", "'*'", OP_mul},
                     {"/", "'/'", OP_div},  {"<", "'<'", OP_lt},      {"<=", "'<='", OP_le},
                     {">", "'>'", OP_gt},   {">=", "'>='", OP_ge},    {"==", "'=='", OP_eq},
                     {"!=", "'!='", OP_ne}, {"and", "'and'", OP_and}, {"or", "'or'", OP_or}};
    if (failed(lw)) return (Item){0};
    if (!strcmp(op, "^")) return power(lw, a, b);
    if (!strcmp(op, "@")) return item_value(matmul_values(lw, any_value(lw, a), any_value(lw, b)));
    for (size_t i = 0; i < COUNT(operators); i++) {
        if (strcmp(op, operators[i].text)) continue;
        Number number;
        if (a.kind == ITEM_NUMBER && b.kind == ITEM_NUMBER && number_binary(op, a.number, b.number, &number))
            return finite_number(lw, operators[i].what, number);
        return pointwise(lw, operators[i].what, operators[i].op, (Item[]){a, b}, 2);
    }
    return item_fail(lw, FRAX_INTERNAL, "operator %s has no rule", op);
}

/* ---- Small compositions ---- */

Value op_broadcast(Lower *lw, Op op, Value a, Value b) {
    if (failed(lw)) return NO_VALUE;
    return g_binary(lw->g, op, a, g_broadcast(lw->g, b, *shape_of(lw, a)));
}

Value replace_where(Lower *lw, Value mask, double value, Value x) {
    return g_select(lw->g, mask, g_like(lw->g, x, value), x);
}
