/* test_text.c — the text form of graphs: printing and reading give the same text; malformed text gives a
 * message with its place; memory running out at any point gives a status and leaks nothing.
 */
#include "every_op.h"
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void print(const Graph *g, Text *out) {
    graph_print(g, out);
    assert_false(out->failed);
}

/* Reads text, which must print as itself. */
static void expect_round_trip(const char *text) {
    FraxError err;
    Graph *g;
    Text again = {0};
    if (graph_read(text, "text", &g, &err)) fail_msg("%s", err.message);
    print(g, &again);
    assert_string_equal(again.data, text);
    graph_destroy(g);
    text_free(&again);
}

static void test_every_op_round_trips(void **state) {
    (void)state;
    Graph *g = every_op();
    FraxError err = {0};
    Text text = {0};
    if (graph_verify(g, &err)) fail_msg("%s", err.message);
    print(g, &text);
    for (int i = 0; i < OP_COUNT; i++) {
        char use[40];
        snprintf(use, sizeof use, " = %s", op_table[i].name);
        if (!strstr(text.data, use)) fail_msg("every_op() holds no %s", op_table[i].name);
    }
    expect_round_trip(text.data);
    graph_destroy(g);
    text_free(&text);
}

static void test_known_text(void **state) {
    (void)state;
    static const char text[] =
        "graph nile @nile.frax {\n"
        "  %0: f64[4] = input {name=x} @2:12\n"
        "  %1: f64[] = param {name=d, init=constant, value=0.1} @3:5\n"
        "  %2: bf16[] = param {name=\"w \\\"\\\\\\x0a\\x7f\", init=normal, value=-0, value2=1e-300}\n"
        "  %3: f64[1] = reshape %1 @4:9\n"
        "  %4: f64[4] = broadcast %3\n"
        "  %5: f64[4] = mul %0, %4 k0 output+0 @4:9\n"
        "  %6: f64[4] = constant {value=nan}\n"
        "  %7: f64[4] = constant {value=-inf}\n"
        "  return loss = %5, a.nan = %6, inf = %7, \"d next\" = %1 -> %1\n"
        "}\n";
    FraxError err;
    Graph *g;
    if (graph_read(text, "t", &g, &err)) fail_msg("%s", err.message);
    assert_string_equal(g->name, "nile");
    assert_string_equal(g->file, "nile.frax");
    assert_int_equal(g->ninputs, 3);
    assert_string_equal(graph_node(g, g->inputs[2])->attrs->name, "w \"\\\n\x7f");
    const Node *product = graph_node(g, g->outputs[0].value);
    assert_int_equal(product->kernel, 0);
    assert_int_equal(product->region, REGION_OUTPUT);
    assert_int_equal(product->loc.line, 4);
    assert_int_equal(g->outputs[3].donated, 1);
    graph_destroy(g);
    expect_round_trip(text);
}

static void test_empty_and_commented(void **state) {
    (void)state;
    expect_round_trip("graph \"\" @\"\" {\n  return\n}\n");
    FraxError err;
    Graph *g;
    assert_int_equal(graph_read("# a comment\ngraph a @b { # another\r\n\treturn\n}#", "t", &g, &err),
                     FRAX_OK);
    graph_destroy(g);
}

/* The numbers that are hard to write. */
static void test_doubles(void **state) {
    (void)state;
    static const double values[] = {
        0.1,     1.0 / 3,  -0.0,     5e-324, 1.7976931348623157e308, 123456789012345680.0,
        -1e-300, 0x1.fp-7, INFINITY, 1e22,   0.30000000000000004};
    const char *locale = setlocale(LC_NUMERIC, "de_DE.UTF-8"); /* a decimal comma, where installed */
    for (size_t i = 0; i < COUNT(values); i++) {
        char buffer[32];
        double back = 1;
        double_text(values[i], buffer);
        assert_null(strchr(buffer, ','));
        assert_true(double_parse(buffer, strlen(buffer), &back));
        assert_memory_equal(&back, &values[i], sizeof back);
    }
    (void)locale;
    setlocale(LC_NUMERIC, "C");
    static const char *const wrong[] = {"",   "-",   "1e999", "0x10", "1.2.3", "infinity",
                                        "1e", "--1", " 1",    "1 ",   "e5"};
    double v;
    for (size_t i = 0; i < COUNT(wrong); i++) assert_false(double_parse(wrong[i], strlen(wrong[i]), &v));
    assert_true(double_parse("nan", 3, &v) && isnan(v));
}

/* ---- Malformed text ---- */

#define HEAD "graph a @b {\n  %0: f64[2,3] = input {name=x}\n"

static const struct {
    const char *text;
    FraxStatus status;
    const char *message; /* the first line, after "t:" */
} malformed[] = {
    {"", FRAX_SYNTAX, "1:1: expected 'graph', found the end of the text"},
    {"grap a @b {}", FRAX_SYNTAX, "1:1: expected 'graph', found 'grap'"},
    {"graphs a @b {}", FRAX_SYNTAX, "1:1: expected 'graph', found 'graphs'"},
    {HEAD "  returns y = %0\n}", FRAX_SYNTAX, "3:3: expected 'return', found 'returns'"},
    {"graph 7 @b {", FRAX_SYNTAX, "1:7: expected the graph's name"},
    {"graph \"a @b {", FRAX_SYNTAX, "1:7: the quoted name does not end"},
    {"graph \"\\q\" @b {", FRAX_SYNTAX, "1:8: expected \\\", \\\\ or \\xNN with NN from 01 to ff"},
    {"graph \"\\x00\" @b {", FRAX_SYNTAX, "1:8: expected \\\", \\\\ or \\xNN with NN from 01 to ff"},
    {"graph a b {", FRAX_SYNTAX, "1:9: expected '@', found 'b'"},
    {HEAD, FRAX_SYNTAX, "3:1: expected 'return', found the end of the text"},
    {HEAD "  return y = %0\n", FRAX_SYNTAX, "4:1: expected '}', found the end of the text"},
    {HEAD "  return y = %0\n} x", FRAX_SYNTAX, "4:3: text after the graph's end"},
    {HEAD "  return y = %1\n}", FRAX_NAME, "3:14: %1 is not defined above"},
    {HEAD "  return y = %99999999999999999999\n}", FRAX_VALUE,
     "3:15: a node's number is out of range, expected 0…2147483647"},
    {HEAD "  %7: f64[2,3] = neg %0\n", FRAX_NAME, "3:3: expected %1, the next number"},
    {HEAD "  %1: f63[2,3] = neg %0\n", FRAX_NAME, "3:7: expected one of f64, f32, bf16, f16, i32, bool"},
    {HEAD "  %1: f64[2,-3] = neg %0\n", FRAX_VALUE,
     "3:13: a size is out of range, expected 0…9223372036854775807"},
    {HEAD "  %1: f64[2,3 = neg %0\n", FRAX_SYNTAX, "3:15: expected ',', found '='"},
    {HEAD "  %1: f64[1,1,1,1,1,1,1,1,1] = neg %0\n", FRAX_SHAPE,
     "3:27: more than the 8 entries expected here"},
    {HEAD "  %1: f64[4611686018427387904,4] = neg %0\n", FRAX_SHAPE, "3:7: the shape overflows"},
    {HEAD "  %1: f64[2,3] = spectrl %0\n", FRAX_NAME, "3:18: there is no op spectrl; did you mean spectral?"},
    {HEAD "  %1: f64[2,3] = qqqqqqq %0\n", FRAX_NAME, "3:18: there is no op qqqqqqq"},
    {HEAD "  %1: f64[2,3] = neg\n", FRAX_SYNTAX, "4:1: expected '%', found the end of the text"},
    {HEAD "  %1: f64[2,3] = neg %1\n", FRAX_NAME, "3:22: %1 is not defined above"},
    {HEAD "  %1: f64[2,3] = neg %0, %0\n", FRAX_TYPE, "3:3: neg: got 2 operands, expected 1"},
    {HEAD "  %1: f32[2,3] = neg %0\n", FRAX_TYPE, "3:3: the text says f32[2,3], the operands give f64[2,3]"},
    {HEAD "  %1: f64[3,2] = neg %0\n", FRAX_SHAPE, "3:3: the text says f64[3,2], the operands give f64[2,3]"},
    {HEAD "  %1: f64[2,3] = neg %0 {axis=1}\n", FRAX_NAME, "3:26: neg has no attribute axis"},
    {HEAD "  %1: f64[2,1] = sum %0 {axes=[1], axes=[1]}\n", FRAX_NAME, "3:36: attribute axes is given twice"},
    {HEAD "  %1: f64[2,1] = sum %0 {axes=[9]}\n", FRAX_VALUE, "3:32: an axis is out of range, expected 0…7"},
    {HEAD "  %1: f64[2,1] = sum %0 {axes=[5]}\n", FRAX_SHAPE, "3:3: sum: an axis is outside rank 2"},
    {HEAD "  %1: f64[2,1] = sum %0 {axes=[1]\n", FRAX_SYNTAX, "4:1: expected '}', found the end of the text"},
    {HEAD "  %1: f64[2,1] = slice %0 {lo=[0,0,0]}\n", FRAX_SHAPE,
     "3:36: more than the 2 entries expected here"},
    {HEAD "  %1: f64[2,1] = slice %0 {lo=[0,0],hi=[2,1]}\n", FRAX_SHAPE,
     "3:3: slice: 0:2:0 is outside axis 0 of size 2"},
    {HEAD "  %1: f64[2,3] = pad %0 {lo=[9223372036854775808,0]}\n", FRAX_VALUE,
     "3:30: an integer is out of range, expected -9223372036854775808…9223372036854775807"},
    {HEAD "  %1: f64[2,2] = rfft %0 {axes=[1], part=ie}\n", FRAX_NAME, "3:42: expected one of re, im"},
    {HEAD "  %1: f64[2,3] = polygamma %0 {n=33}\n", FRAX_VALUE, "3:3: polygamma: order 33, expected 0…32"},
    {HEAD "  %1: f64[2,3] = custom %0, %0, %0, %0 {n=4294967297}\n", FRAX_INTERNAL,
     "3:3: custom: 4 operands for n = 4294967297, expected 2n + 2"},
    {HEAD "  %1: f64[] = constant {value=12x}\n", FRAX_SYNTAX, "3:33: expected '}', found 'x}'"},
    {HEAD "  %1: f64[] = constant {value=1e999}\n", FRAX_VALUE, "3:31: expected a number"},
    {HEAD "  %1: i32[] = constant {value=0.5}\n", FRAX_VALUE, "3:3: constant: 0.5 is not a value of i32[]"},
    {HEAD "  %1: bool[] = constant {value=nan}\n", FRAX_VALUE, "3:3: constant: nan is not a value of bool[]"},
    {HEAD "  %1: f64[] = input\n", FRAX_NAME, "3:3: input: it has no name"},
    {HEAD "  %1: f64[] = input {name=x}\n", FRAX_NAME, "3:3: two inputs are called x"},
    {HEAD "  %1: f64[] = param {name=p, init=he, value2=}\n", FRAX_VALUE, "3:46: expected a number"},
    {HEAD "  %1: f64[2,3] = neg %0 k99999999999\n", FRAX_VALUE,
     "3:26: a kernel's number is out of range, expected 0…2147483647"},
    {HEAD "  %1: f64[2,3] = neg %0 k1 arena 64\n", FRAX_SYNTAX, "3:34: expected '+', found '64'"},
    {HEAD "  %1: f64[2,3] = neg %0 @0:1\n", FRAX_VALUE,
     "3:26: a line is out of range, expected 1…2147483647"},
    {HEAD "  %1: f64[2,3] = neg %0 k1\n  %2: f64[2,3] = neg %0 k2\n", FRAX_VALUE,
     "4:3: the same value as a node above, with another kernel or place"},
    {HEAD "  %1: f64[2,3] = neg %0 arena+64\n  return y = %1\n}", FRAX_VALUE,
     " graph a, node %1 (neg): has a place in the arena, but no kernel stores it"},
    {HEAD "  return y = %0 -> %0, y = %0\n}", FRAX_VALUE, " graph a: two outputs are called y"},
};

static void test_malformed(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(malformed); i++) {
        FraxError err;
        Graph *g = (Graph *)1;
        FraxStatus status = graph_read(malformed[i].text, "t", &g, &err);
        char *first = err.message, *end = strchr(first, '\n');
        if (status == FRAX_OK) fail_msg("case %zu was read", i);
        if (end) *end = '\0';
        assert_null(g);
        assert_string_equal(first + 2, malformed[i].message);
        if (status != malformed[i].status)
            fail_msg("case %zu: status %d, expected %d", i, status, malformed[i].status);
    }
}

static void test_shows_the_line(void **state) {
    (void)state;
    FraxError err;
    Graph *g;
    assert_int_equal(graph_read(HEAD "  %1: f64[2,3] = spectrl %0\n", "t.ir", &g, &err), FRAX_NAME);
    assert_string_equal(err.message, "t.ir:3:18: there is no op spectrl; did you mean spectral?\n"
                                     "  %1: f64[2,3] = spectrl %0\n"
                                     "                 ^");
    assert_int_equal(err.line, 3);
    assert_int_equal(err.column, 18);
}

/* Every prefix and every one-byte change of a good text is read or refused, never worse. */
static void test_damaged_text(void **state) {
    (void)state;
    static const char bytes[] = {'\0', '%', '"', '9', '-', '\n', ']', (char)0xff};
    Graph *g = every_op(), *read;
    Text text = {0};
    print(g, &text);
    size_t read_well = 0;
    for (size_t i = 0; i < text.len; i += 5)
        for (size_t k = 0; k < COUNT(bytes); k++) {
            char kept = text.data[i];
            text.data[i] = bytes[k];
            if (!graph_read(text.data, "t", &read, NULL)) {
                assert_int_equal(graph_verify(read, NULL), FRAX_OK);
                graph_destroy(read);
                read_well++;
            }
            text.data[i] = kept;
        }
    assert_true(read_well > 0);
    graph_destroy(g);
    text_free(&text);
}

/* ---- Memory ---- */

static FraxStatus build_print_read(void) {
    Graph *g = every_op(), *again = NULL;
    Text text = {0};
    FraxError err = {0};
    FraxStatus status = g ? graph_verify(g, &err) : FRAX_MEMORY;
    if (status) goto done;
    graph_print(g, &text);
    status = text.failed ? FRAX_MEMORY : graph_read(text.data, "t", &again, &err);
done:
    graph_destroy(g);
    graph_destroy(again);
    text_free(&text);
    return status;
}

static void test_memory_runs_out(void **state) {
    (void)state;
    long before = mem_count();
    assert_int_equal(build_print_read(), FRAX_OK);
    long needed = mem_count() - before;
    assert_true(needed > 20);
    for (long n = 1; n <= needed; n++) {
        mem_fail_after(n);
        FraxStatus status = build_print_read();
        mem_fail_after(0);
        if (status != FRAX_MEMORY) fail_msg("allocation %ld of %ld: status %d", n, needed, status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_op_round_trips),
        cmocka_unit_test(test_known_text),
        cmocka_unit_test(test_empty_and_commented),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_shows_the_line),
        cmocka_unit_test(test_damaged_text),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
