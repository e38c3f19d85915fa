/* test_graph.c — the builder: types, folding, hash-consing, sticky errors, rewriting; and the verifier, which
 * must find each kind of damage done to a good graph.
 */
#include "every_op.h"
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static Type f64(Shape shape) {
    return (Type){FRAX_F64, shape};
}

static Graph *start(Value *x) {
    Graph *g = graph_create("g", "g.frax");
    assert_non_null(g);
    *x = g_input(g, "x", f64(SHAPE(2, 3)));
    return g;
}

/* ---- Hash-consing and folding ---- */

static void test_equal_nodes_are_one(void **state) {
    (void)state;
    Value x;
    Graph *g = start(&x);
    assert_int_equal(g_add(g, x, g_neg(g, x)), g_add(g, x, g_neg(g, x)));
    assert_int_equal(g_constant(g, f64(SCALAR), NAN), g_constant(g, f64(SCALAR), -NAN));
    assert_int_not_equal(g_constant(g, f64(SCALAR), 0.0), g_constant(g, f64(SCALAR), -0.0));
    assert_int_not_equal(g_constant(g, f64(SCALAR), 1), g_constant(g, f64(SHAPE(1)), 1));
    assert_int_not_equal(g_reduce(g, OP_sum, x, 1), g_reduce(g, OP_sum, x, 2));
    assert_int_not_equal(g_rfft(g, x, 1, PART_RE), g_rfft(g, x, 1, PART_IM));
    assert_int_equal(g_input(g, "x", f64(SHAPE(2, 3))), x);
    for (int i = 0; i < 2000; i++) g_shift(g, x, i); /* the table grows */
    size_t count = g->count;
    for (int i = 0; i < 2000; i++) g_shift(g, x, i);
    assert_int_equal(g->count, count);
    assert_int_equal(graph_verify(g, NULL), FRAX_OK);
    graph_destroy(g);
}

static void expect_constant(const Graph *g, Value v, double value) {
    assert_true(v != NO_VALUE);
    assert_int_equal(graph_node(g, v)->op, OP_constant);
    assert_true(graph_node(g, v)->attrs->value == value);
}

static void test_constants_fold(void **state) {
    (void)state;
    Value x;
    Graph *g = start(&x);
    Value two = g_like(g, x, 2), three = g_like(g, x, 3);
    expect_constant(g, g_mul(g, two, three), 6);
    expect_constant(g, g_unary(g, OP_sqrt, g_shift(g, two, 2)), 2);
    expect_constant(g, g_binary(g, OP_lt, two, three), 1);
    expect_constant(g, g_reshape(g, two, SHAPE(6)), 2);
    expect_constant(g, g_broadcast(g, g_constant(g, f64(SHAPE(1, 3)), 4), SHAPE(5, 3)), 4);
    expect_constant(g, g_cast(g, g_like(g, x, -2.7), FRAX_I32), -2);
    Value top = g_constant(g, (Type){FRAX_I32, SCALAR}, INT32_MAX);
    expect_constant(g, g_shift(g, top, 1), INT32_MIN);
    graph_destroy(g);
}

static void test_identities_fold(void **state) {
    (void)state;
    const int64_t zero[] = {0, 0}, all[] = {2, 3};
    Value x;
    Graph *g = start(&x);
    Value yes = g_constant(g, (Type){FRAX_BOOL, SHAPE(2, 3)}, 1), other = g_neg(g, x);
    const Value same[] = {
        g_shift(g, x, 0),
        g_add(g, g_like(g, x, 0), x),
        g_scale(g, x, 1),
        g_mul(g, g_like(g, x, 1), x),
        g_div(g, x, g_like(g, x, 1)),
        g_binary(g, OP_pow, x, g_like(g, x, 1)),
        g_sub(g, x, g_like(g, x, 0)),
        g_reshape(g, g_reshape(g, x, SHAPE(6)), SHAPE(2, 3)),
        g_transpose(g, x, (uint8_t[]){0, 1}),
        g_broadcast(g, x, SHAPE(2, 3)),
        g_slice(g, x, zero, all, NULL),
        g_pad(g, x, zero, zero, NULL),
        g_concat(g, &x, 1, 0),
        g_flip(g, x, 0),
        g_reduce(g, OP_sum, x, 0),
        g_cast(g, x, FRAX_F64),
        g_neg(g, other),
        g_select(g, yes, x, other),
        g_select(g, g_binary(g, OP_lt, x, other), x, x),
    };
    for (size_t i = 0; i < COUNT(same); i++) assert_int_equal(same[i], x);
    assert_int_not_equal(g_unary(g, OP_stop, x), x);
    assert_int_not_equal(g_scale(g, x, 0), g_like(g, x, 0)); /* 0 · NaN is NaN */
    assert_int_not_equal(g_reduce(g, OP_sum, x, 1), x);
    graph_destroy(g);
}

static void test_shape_helpers(void **state) {
    (void)state;
    Value x;
    Graph *g = start(&x);
    Shape shape;
    assert_true(shape_broadcast(&SHAPE(2, 1, 3), &SHAPE(4, 1), &shape));
    assert_true(shape_equal(&shape, &SHAPE(2, 4, 3)));
    assert_true(shape_broadcast(&SHAPE(0), &SHAPE(1), &shape) && shape.dims[0] == 0);
    assert_false(shape_broadcast(&SHAPE(2), &SHAPE(3), &shape));
    assert_true(shape_equal(&graph_type(g, g_broadcast_to(g, x, SHAPE(5, 2, 3)))->shape, &SHAPE(5, 2, 3)));
    assert_true(shape_equal(&graph_type(g, g_unsqueeze(g, x, 5))->shape, &SHAPE(1, 2, 1, 3)));
    assert_int_equal(g_squeeze(g, g_unsqueeze(g, x, 5), 5), x);
    assert_int_equal(graph_status(g, NULL), FRAX_OK);
    graph_destroy(g);
}

/* ---- Errors ---- */

static void expect_fault(Graph *g, Value v, FraxStatus status, const char *message) {
    FraxError err = {0};
    assert_int_equal(v, NO_VALUE);
    assert_int_equal(graph_status(g, &err), status);
    assert_string_equal(err.message, message);
    graph_destroy(g);
}

#define EXPECT_FAULT(call, status, message)                                                                  \
    do {                                                                                                     \
        Value x;                                                                                             \
        Graph *g = start(&x);                                                                                \
        Value v = call;                                                                                      \
        expect_fault(g, v, status, message);                                                                 \
    } while (0)

static void test_faults(void **state) {
    (void)state;
    const int64_t zero[] = {0, 0}, big[] = {2, 4}, huge[] = {INT64_MAX, 0};
    EXPECT_FAULT(g_add(g, x, g_constant(g, f64(SHAPE(3, 2)), 1)), FRAX_SHAPE,
                 "add: got f64[2,3] and f64[3,2], expected operands of one dtype and shape");
    EXPECT_FAULT(g_add(g, x, g_cast(g, x, FRAX_F32)), FRAX_TYPE,
                 "add: got f64[2,3] and f32[2,3], expected operands of one dtype and shape");
    EXPECT_FAULT(g_unary(g, OP_exp, g_cast(g, x, FRAX_I32)), FRAX_TYPE,
                 "exp: got i32[2,3], expected a floating dtype");
    EXPECT_FAULT(g_neg(g, g_cast(g, x, FRAX_BOOL)), FRAX_TYPE, "neg: got bool[2,3], expected numbers");
    EXPECT_FAULT(g_reshape(g, x, SHAPE(4)), FRAX_SHAPE, "reshape: f64[2,3] has 6 elements, shape [4] has 4");
    EXPECT_FAULT(g_reshape(g, x, SHAPE(INT64_MAX, INT64_MAX)), FRAX_SHAPE,
                 "reshape: shape [9223372036854775807,9223372036854775807] is negative or overflows");
    EXPECT_FAULT(g_input(g, "y", f64(SHAPE(-1))), FRAX_SHAPE, "input: shape [-1] is negative or overflows");
    EXPECT_FAULT(g_slice(g, x, zero, big, NULL), FRAX_SHAPE, "slice: 0:4:1 is outside axis 1 of size 3");
    EXPECT_FAULT(g_pad(g, x, huge, zero, NULL), FRAX_SHAPE,
                 "pad: 9223372036854775807 before, 0 after, step 1 on axis 0 of size 2");
    EXPECT_FAULT(g_broadcast(g, x, SHAPE(2, 4)), FRAX_SHAPE, "broadcast: [2,3] does not fit [2,4]");
    EXPECT_FAULT(g_reduce(g, OP_sum, x, 4), FRAX_SHAPE, "sum: an axis is outside rank 2");
    EXPECT_FAULT(g_matmul(g, x, x, false, false), FRAX_SHAPE,
                 "matmul: got f64[2,3] and f64[2,3], expected […,m,k] and […,k,n] of one floating dtype and "
                 "equal batch axes");
    EXPECT_FAULT(g_constant(g, (Type){FRAX_I32, SCALAR}, 0.5), FRAX_VALUE,
                 "constant: 0.5 is not a value of i32[]");
    EXPECT_FAULT(g_polygamma(g, 33, x), FRAX_VALUE, "polygamma: order 33, expected 0…32");
    EXPECT_FAULT(g_input(g, "x", f64(SCALAR)), FRAX_NAME, "two inputs are called x");
    EXPECT_FAULT(g_rfft(g, x, 0, PART_RE), FRAX_SHAPE, "rfft: no axis given");
    EXPECT_FAULT(
        g_spectral(g, x, x, x, 2), FRAX_SHAPE,
        "spectral: got f64[2,3] and f64[2,3], expected K of the spectrum's dtype and shape, or size 1 "
        "off the transformed axes");
    EXPECT_FAULT(g_reduce(g, OP_reduce_max, g_slice(g, x, zero, zero, NULL), 1), FRAX_SHAPE,
                 "reduce_max: axis 0 is empty");
}

static void test_faults_stick(void **state) {
    (void)state;
    Value x;
    Graph *g = start(&x);
    g->loc = (Loc){4, 9};
    Value bad = g_reshape(g, x, SHAPE(5));
    size_t count = g->count;
    g->loc = (Loc){5, 1};
    assert_int_equal(g_add(g, bad, x), NO_VALUE);
    assert_int_equal(g_add(g, x, x), NO_VALUE);
    assert_int_equal(g_like(g, bad, 1), NO_VALUE);
    assert_int_equal(g_squeeze(g, bad, 1), NO_VALUE);
    graph_output(g, "y", bad);
    assert_int_equal(g->count, count);
    FraxError err;
    assert_int_equal(graph_status(g, &err), FRAX_SHAPE);
    assert_string_equal(err.message, "reshape: f64[2,3] has 6 elements, shape [5] has 5");
    assert_int_equal(err.line, 4);
    assert_int_equal(err.column, 9);
    assert_int_equal(graph_verify(g, NULL), FRAX_SHAPE);
    graph_destroy(g);
}

static void test_inputs_stand_before_params(void **state) {
    (void)state;
    Graph *g = graph_create("g", "g");
    Value p = g_param(g, "p", f64(SCALAR), INIT_HE, 0, 0), x = g_input(g, "x", f64(SCALAR));
    Value q = g_param(g, "q", f64(SCALAR), INIT_HE, 0, 0), y = g_input(g, "y", f64(SCALAR));
    assert_memory_equal(g->inputs, ((Value[]){x, y, p, q}), 4 * sizeof(Value));
    assert_int_equal(graph_verify(g, NULL), FRAX_OK);
    graph_destroy(g);
}

/* ---- Rewriting ---- */

static Value sine_for_cosine(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    if (graph_node(from, v)->op != OP_cos) return NO_VALUE;
    ++*(int *)context;
    return g_unary(to, OP_sin, args[0]);
}

static void test_rewriting(void **state) {
    (void)state;
    Value x;
    Graph *g = start(&x);
    g->loc = (Loc){2, 5};
    Value y = g_add(g, g_unary(g, OP_cos, x), g_unary(g, OP_sin, x));
    g_unary(g, OP_cos, y); /* dead: not offered */
    Value unused = g_input(g, "unused", f64(SCALAR)), p = g_param(g, "p", f64(SHAPE(2, 3)), INIT_HE, 0, 0);
    (void)unused;
    graph_output_donated(g, "y", y, p);
    int seen = 0;
    FraxError err;
    Graph *to = graph_rewrite(g, sine_for_cosine, &seen, &err);
    assert_non_null(to);
    assert_int_equal(seen, 1);
    assert_int_equal(to->ninputs, 3);
    assert_int_equal(to->count, 5); /* x, sin x, sin x + sin x, unused, p */
    const Node *sum = graph_node(to, to->outputs[0].value);
    assert_int_equal(sum->args[0], sum->args[1]);
    assert_int_equal(sum->loc.line, 2);
    assert_string_equal(graph_node(to, to->outputs[0].donated)->attrs->name, "p");
    assert_int_equal(graph_verify(to, &err), FRAX_OK);
    graph_destroy(to);
    graph_destroy(g);
}

static Value break_shape(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    (void)context;
    return graph_node(from, v)->op == OP_cos ? g_reshape(to, args[0], SHAPE(1)) : NO_VALUE;
}

/* Rewriting keeps notes, in order and once; the text form does not hold them. */
static void test_notes(void **state) {
    (void)state;
    Graph *g = graph_create("noted", "test");
    FraxError err;
    graph_output(g, "y", g_input(g, "x", (Type){FRAX_F64, SCALAR}));
    graph_note(g, (Loc){4, 9}, "took %d", 3);
    graph_note(g, (Loc){0}, "nowhere");
    graph_note(g, (Loc){4, 9}, "took %d", 3);
    Graph *to = graph_rewrite(g, NULL, NULL, &err);
    assert_non_null(to);
    graph_note(to, (Loc){5, 9}, "took %d", 3);
    Text notes = {0}, text = {0};
    graph_print_notes(to, &notes);
    assert_string_equal(notes.data, "# 4:9 took 3\n# nowhere\n# 5:9 took 3\n");
    graph_print(to, &text);
    assert_null(strstr(text.data, "took"));
    mem_fail_after(1);
    for (int line = 1; line < 2000 && !g->failed; line++) graph_note(g, (Loc){line, 1}, "too much");
    mem_fail_after(0);
    assert_int_equal(graph_status(g, &err), FRAX_MEMORY);
    text_free(&notes);
    text_free(&text);
    graph_destroy(g);
    graph_destroy(to);
}

static void test_rewriting_reports_faults(void **state) {
    (void)state;
    Value x;
    Graph *g = start(&x);
    graph_output(g, "y", g_unary(g, OP_cos, x));
    FraxError err;
    assert_null(graph_rewrite(g, break_shape, NULL, &err));
    assert_int_equal(err.status, FRAX_SHAPE);
    long before = mem_count();
    graph_destroy(graph_rewrite(g, NULL, NULL, NULL));
    long needed = mem_count() - before;
    for (long n = 1; n <= needed; n++) {
        mem_fail_after(n);
        Graph *to = graph_rewrite(g, NULL, NULL, &err);
        mem_fail_after(0);
        assert_null(to);
        assert_int_equal(err.status, FRAX_MEMORY);
    }
    graph_destroy(g);
}

/* ---- The verifier ---- */

/* The last node of the op in every_op(). */
static Node *node_of(Graph *g, Op op) {
    size_t v = g->count;
    while (g->nodes[--v].op != op) {
    }
    return &g->nodes[v];
}

static Attrs *attrs_of(Graph *g, Op op) {
    return (Attrs *)node_of(g, op)->attrs;
}

static Value *args_of(Graph *g, Op op) {
    return (Value *)node_of(g, op)->args;
}

static void damage_op(Graph *g) {
    node_of(g, OP_exp)->op = (Op)OP_COUNT;
}
static void damage_count(Graph *g) {
    node_of(g, OP_exp)->nargs = 2;
}
static void damage_order(Graph *g) {
    args_of(g, OP_exp)[0] = (Value)g->count - 1;
}
static void damage_operand(Graph *g) {
    args_of(g, OP_exp)[0] = -1;
}
static void damage_dtype(Graph *g) {
    node_of(g, OP_exp)->type.dtype = FRAX_F32;
}
static void damage_dtype_range(Graph *g) {
    node_of(g, OP_exp)->type.dtype = (FraxDType)17;
}
static void damage_shape(Graph *g) {
    node_of(g, OP_exp)->type.shape.dims[0] = 2;
}
static void damage_rank(Graph *g) {
    node_of(g, OP_exp)->type.shape.rank = 9;
}
static void damage_rule(Graph *g) {
    attrs_of(g, OP_matmul)->ta ^= 1;
}
static void damage_stray(Graph *g) {
    attrs_of(g, OP_exp)->axis = 1;
}
static void damage_tail(Graph *g) {
    attrs_of(g, OP_slice)->lo[5] = 1;
}
static void damage_part(Graph *g) {
    attrs_of(g, OP_rfft)->part = 2;
}
static void damage_value(Graph *g) {
    attrs_of(g, OP_constant)->value += 1e9;
}
static void damage_unique(Graph *g) {
    node_of(g, OP_exp)->op = OP_sin;
}
static void damage_kernel(Graph *g) {
    node_of(g, OP_exp)->kernel = -2;
}
static void damage_schedule(Graph *g) {
    node_of(g, OP_exp)->kernel = 3;
    node_of(g, OP_add)->kernel = 2; /* the total, which needs exp by way of nodes without a kernel */
}
static void damage_input_kernel(Graph *g) {
    node_of(g, OP_input)->kernel = 0;
}
static void damage_region(Graph *g) {
    node_of(g, OP_exp)->region = REGION_COUNT;
}
static void damage_offset(Graph *g) {
    node_of(g, OP_exp)->offset = 8;
}
static void damage_arena(Graph *g) {
    node_of(g, OP_exp)->region = REGION_ARENA;
}
static void damage_input_place(Graph *g) {
    node_of(g, OP_exp)->region = REGION_INPUT;
}
static void damage_output_place(Graph *g) {
    node_of(g, OP_exp)->region = REGION_OUTPUT;
}
static void damage_input_region(Graph *g) {
    node_of(g, OP_input)->region = REGION_ARENA;
}
static void damage_input_list(Graph *g) {
    g->ninputs--;
}
static void damage_input_order(Graph *g) {
    Value first = g->inputs[0];
    g->inputs[0] = g->inputs[3];
    g->inputs[3] = first;
}
static void damage_input_twice(Graph *g) {
    g->inputs[1] = g->inputs[0];
}
static void damage_output(Graph *g) {
    g->outputs[0].value = (Value)g->count;
}
static void damage_output_name(Graph *g) {
    g->outputs[0].name = g->outputs[1].name;
}
static void damage_donation(Graph *g) {
    g->outputs[1].donated = g->inputs[0];
}
static void damage_donated_node(Graph *g) {
    g->outputs[1].donated = g->outputs[0].value;
}
static void damage_donated_twice(Graph *g) {
    g->outputs[0].donated = g->outputs[1].donated;
}

static const struct {
    void (*damage)(Graph *g);
    const char *message; /* some of it */
} damages[] = {
    {damage_op, "is not in the table"},
    {damage_count, "(exp): exp: got 2 operands, expected 1"},
    {damage_order, "expected a node before it"},
    {damage_operand, "operand 0 is %-1"},
    {damage_dtype, "type f32[3,8], the operands give f64[3,8]"},
    {damage_dtype_range, "dtype, rank or size out of range"},
    {damage_shape, "type f64[2,8], the operands give f64[3,8]"},
    {damage_rank, "dtype, rank or size out of range"},
    {damage_rule, "(matmul)"},
    {damage_stray, "attribute axis is set, but the op has none"},
    {damage_tail, "an attribute is set for axis 5 of rank 2"},
    {damage_part, "an attribute is out of range"},
    {damage_value, "(constant): changed after it was built"},
    {damage_unique, "(sin): "},
    {damage_kernel, "kernel -2"},
    {damage_schedule, "(add): kernel 2 needs a value of kernel 3"},
    {damage_input_kernel, "stores what no kernel computes"},
    {damage_region, "region 5"},
    {damage_offset, "offset 8 in region none"},
    {damage_arena, "has a place in the arena, but no kernel stores it"},
    {damage_input_place, "stands for input 0, which it is not"},
    {damage_output_place, "stands for output 0, which it is not"},
    {damage_input_region, "an input in region arena"},
    {damage_input_list, "3 inputs in the signature, 4 among the nodes"},
    {damage_input_order, "stands after a param"},
    {damage_input_twice, "two inputs are called x"},
    {damage_output, "which does not exist"},
    {damage_output_name, "two outputs are called d.next"},
    {damage_donation, "which has another type"},
    {damage_donated_node, "which is not an input"},
    {damage_donated_twice, "share one buffer"},
};

static void test_verifier_finds_damage(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(damages); i++) {
        FraxError err = {0};
        Graph *g = every_op();
        assert_int_equal(graph_verify(g, &err), FRAX_OK);
        damages[i].damage(g);
        if (graph_verify(g, &err) != FRAX_INTERNAL) fail_msg("damage %zu is not found", i);
        if (!strstr(err.message, damages[i].message))
            fail_msg("damage %zu: '%s', expected '%s'", i, err.message, damages[i].message);
        graph_destroy(g);
    }
}

static void test_verifier_accepts_places(void **state) {
    (void)state;
    Graph *g = every_op();
    Node *sum = node_of(g, OP_add), *product = node_of(g, OP_exp);
    for (size_t i = 0; i < g->ninputs; i++) {
        Node *input = &g->nodes[g->inputs[i]];
        input->region = REGION_INPUT;
        input->offset = (int64_t)i;
    }
    product->kernel = 0, product->region = REGION_ARENA, product->offset = 64;
    sum->kernel = 1, sum->region = REGION_OUTPUT, sum->offset = 0;
    FraxError err;
    if (graph_verify(g, &err)) fail_msg("%s", err.message);
    graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_nodes_are_one),
        cmocka_unit_test(test_constants_fold),
        cmocka_unit_test(test_identities_fold),
        cmocka_unit_test(test_shape_helpers),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_faults_stick),
        cmocka_unit_test(test_inputs_stand_before_params),
        cmocka_unit_test(test_rewriting),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_rewriting_reports_faults),
        cmocka_unit_test(test_verifier_finds_damage),
        cmocka_unit_test(test_verifier_accepts_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
