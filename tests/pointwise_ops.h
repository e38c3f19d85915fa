/* pointwise_ops.h — one graph of every pointwise op that takes a dtype: inputs x, y and z and a condition c,
 * an output for each op.
 */
#ifndef FRAX_TESTS_POINTWISE_OPS_H
#define FRAX_TESTS_POINTWISE_OPS_H

#include "ir.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const FraxDType dtypes[] = {FRAX_F64, FRAX_F32, FRAX_BF16, FRAX_F16, FRAX_I32, FRAX_BOOL};

static inline Graph *start_graph(const char *name) {
    Graph *g = graph_create(name, "test");
    assert_non_null(g);
    return g;
}

typedef struct Operands {
    Value x[3], condition;
} Operands;

static inline Operands add_operands(Graph *g, FraxDType dtype, int64_t n) {
    Type type = {dtype, SHAPE(3, n)};
    return (Operands){{g_input(g, "x", type), g_input(g, "y", type), g_input(g, "z", type)},
                      g_input(g, "c", (Type){FRAX_BOOL, type.shape})};
}

static inline Value apply_op(Graph *g, Op op, const Operands *o) {
    Value args[3] = {o->x[0], o->x[1], o->x[2]};
    if (op == OP_select) args[0] = o->condition;
    if (op == OP_guard) return g_guard(g, args[0], -100, 100, "x", "-100 <= x <= 100");
    if (op == OP_uniform) return g_uniform(g, (UniformDraw){FRAX_F32, 7, 2}, args[0], args[1], args[2]);
    if (op == OP_cast) return g_cast(g, g_cast(g, args[0], FRAX_I32), FRAX_F32);
    return graph_emit(g, op, args, op_table[op].arity, &(Attrs){.n = 1, .m = 1, .part = PART_IM}, NULL);
}

/* Whether the op takes the dtype, by the rule of its row. */
static inline bool takes_dtype(Op op, FraxDType dtype) {
    FraxError err;
    Graph *g = start_graph("one op");
    Operands operands = add_operands(g, dtype, 1);
    apply_op(g, op, &operands);
    bool ok = !graph_status(g, &err);
    graph_destroy(g);
    return ok;
}

static inline bool is_special_op(Op op) {
    return op == OP_lgamma || op == OP_polygamma || op == OP_complex_lgamma || op == OP_mittag_leffler;
}

/* Of 3·n elements, with the special functions or with all others; seen (may be NULL) marks the ops. */
static inline Graph *all_pointwise(FraxDType dtype, int64_t n, bool special, bool *seen) {
    Graph *g = start_graph("pointwise");
    Operands operands = add_operands(g, dtype, n);
    for (int op = 0; op < OP_COUNT; op++) {
        if (!op_is_pointwise((Op)op) || is_special_op((Op)op) != special || !takes_dtype((Op)op, dtype))
            continue;
        if (seen) seen[op] = true;
        graph_output(g, op_table[op].name, apply_op(g, (Op)op, &operands));
    }
    return g;
}

#endif
