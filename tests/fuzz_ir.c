/* fuzz_ir.c — the reader of graphs on damaged text. What it accepts must verify, print, and read back to the
 * same text; what it refuses has a message.
 */
#include "fuzz.h"
#include "ir.h"
#include <string.h>

const FuzzSeed fuzz_seeds[] = {
    FUZZ_SEED("graph nile @nile.frax {\n"
              "  %0: f64[8] = input {name=x} input+0 @1:12\n"
              "  %1: f64[] = param {name=d, init=constant, value=0.1} input+1 @2:3\n"
              "  %2: f64[1] = reshape %1\n"
              "  %3: f64[8] = grunwald_weights %2 {n=8} k0 arena+0\n"
              "  %4: f64[8] = causal_conv %3, %0 {axis=0, engine=fft} k1 arena+64 @4:9\n"
              "  %5: f64[8] = mul %4, %4\n"
              "  %6: f64[1] = sum %5 {axes=[0]}\n"
              "  %7: f64[] = reshape %6 k2 output+0 @5:12\n"
              "  %8: f64[] = constant {value=0.125}\n"
              "  %9: f64[] = mul %1, %8 k3 output+2\n"
              "  return loss = %7, e = %4, d.next = %9 -> %1\n"
              "}\n"),
    FUZZ_SEED("graph shapes @\"a file.frax\" {\n"
              "  %0: f32[2,3] = input {name=\"x 1\"}\n"
              "  %1: f32[3,2] = transpose %0 {perm=[1,0]}\n"
              "  %2: f32[1,2] = slice %1 {lo=[1,0], hi=[3,2], step=[2,1]}\n"
              "  %3: f32[3,2] = broadcast %2\n"
              "  %4: f32[5,4] = pad %3 {lo=[0,1], hi=[0,1], step=[2,1]}\n"
              "  %5: f32[4,4] = matmul %4, %4 {ta=1}\n"
              "  return y = %5 strides [1,9]\n"
              "}\n"),
    FUZZ_SEED("graph spectra @f {\n"
              "  %0: f64[2,5] = input {name=x} strides [-1,2]\n"
              "  %1: f64[2,3] = rfft %0 {axes=[1], part=re}\n"
              "  %2: f64[2,3] = rfft %0 {axes=[1], part=im}\n"
              "  %3: f64[2,5] = spectral %0, %1, %2 {axes=[1]}\n"
              "  %4: f64[1,3] = cross_spectrum %0, %3 {axes=[1], sum=[0], part=im}\n"
              "  %5: f64[2,5] = hole {n=0}\n"
              "  %6: f64[2,5] = exp %0\n"
              "  %7: f64[2,5] = mul %5, %6\n"
              "  %8: f64[2,5] = custom %6, %0, %5, %7 {n=1}\n"
              "  %9: f64[2,5] = polygamma %8 {n=2}\n"
              "  %10: i32[2,1] = argmax %9 {axis=1}\n"
              "  return k = %4, i = %10\n"
              "}\n"),
    FUZZ_SEED("graph logic @f { # folding makes most of it constant\n"
              "  %0: f64[3] = constant {value=-1.5e-300}\n"
              "  %1: f64[3] = iota {axis=0}\n"
              "  %2: bool[3] = lt %0, %1\n"
              "  %3: bool[3] = not %2\n"
              "  %4: f64[3] = select %3, %0, %1\n"
              "  %5: i32[3] = cast %4\n"
              "  %6: i32[6] = concat %5, %5 {axis=0}\n"
              "  %7: i32[6] = flip %6 {axes=[0]}\n"
              "  %8: i32[1] = reduce_max %7 {axes=[0]}\n"
              "  %9: f64[] = constant {value=nan}\n"
              "  %10: f64[] = param {name=w, init=uniform, value=-inf, value2=2}\n"
              "  return a = %8, b = %9, c = %10\n"
              "}\n"),
    FUZZ_SEED("graph guards @f {\n"
              "  %0: f32[4] = input {name=x} input+0\n"
              "  %1: f32[4] = guard %0 {name=\"order a\", value=0.5, value2=inf, expected=\"a > 0.5\"} @2:3\n"
              "  %2: f32[4] = exp %0 k0 output+0\n"
              "  %3: f32[4] = guard %2 {name=e, n=9, lag=2, value=-1, value2=2, expected=small}\n"
              "  %4: f32[4] = guard %3 {name=f, value=-2, value2=2, expected=small}\n"
              "  check %1, %4\n"
              "  return y = %2\n"
              "}\n"),
    {NULL, 0},
};

const FuzzSeed fuzz_words[] = {
    FUZZ_SEED("graph"),
    FUZZ_SEED("return"),
    FUZZ_SEED("%0"),
    FUZZ_SEED("%1"),
    FUZZ_SEED("%3"),
    FUZZ_SEED(": f64["),
    FUZZ_SEED(": f32[2,3]"),
    FUZZ_SEED(": bool[]"),
    FUZZ_SEED(": i32[0]"),
    FUZZ_SEED(" = neg %0"),
    FUZZ_SEED(" = constant {value="),
    FUZZ_SEED(" = add %0, %0"),
    FUZZ_SEED(" = sum %0 {axes=[0]}"),
    FUZZ_SEED(" = iota {axis="),
    FUZZ_SEED(" = concat "),
    FUZZ_SEED(" = custom "),
    FUZZ_SEED(" = reshape %0"),
    FUZZ_SEED(" = pad %0 {lo=["),
    FUZZ_SEED(" {axes=["),
    FUZZ_SEED(", step=["),
    FUZZ_SEED(", sum=[0]"),
    FUZZ_SEED("part="),
    FUZZ_SEED("engine="),
    FUZZ_SEED(" k0"),
    FUZZ_SEED(" arena+0"),
    FUZZ_SEED(" static+8"),
    FUZZ_SEED(" @1:1"),
    FUZZ_SEED(" -> %0"),
    FUZZ_SEED("9223372036854775807"),
    FUZZ_SEED("4294967296"),
    FUZZ_SEED("-9223372036854775808"),
    FUZZ_SEED("1e308"),
    FUZZ_SEED("nan"),
    FUZZ_SEED("-inf"),
    FUZZ_SEED("\\x41"),
    FUZZ_SEED("#"),
    FUZZ_SEED("\n"),
    {NULL, 0},
};

long fuzz_accepted;

static bool starved(FraxStatus status) {
    fuzz_check(status == FRAX_OK || status == FRAX_MEMORY);
    return status == FRAX_MEMORY;
}

static void check_round_trip(const Graph *g) {
    Text text = {0}, again = {0};
    Graph *read = NULL;
    starved(graph_verify(g, NULL));
    graph_print(g, &text);
    if (!text.failed && !starved(graph_read(text.data, "printed", &read, NULL))) {
        graph_print(read, &again);
        fuzz_check(again.failed || !strcmp(text.data, again.data));
    }
    graph_destroy(read);
    text_free(&text);
    text_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    Graph *g;
    FraxError err = {0};
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    FraxStatus status = graph_read(text, "fuzz", &g, &err);
    if (status) {
        fuzz_check(!g && err.status == status && err.message[0]);
    } else {
        fuzz_accepted++;
        check_round_trip(g);
        graph_destroy(g);
    }
    free(text);
    return 0;
}
