/* guard.c — the verdict on one element of a guard's operand, the same on every target and in folding.
 *
 * A NaN is outside of every range. Where the graph is not given (in the builder, whose faults are put into
 * place by others), the message is without its place in the model.
 */
#include "ir.h"
#include "half.h"
#include "source.h"
#include <math.h>
#include <string.h>

/* As many digits as tell two values of the dtype apart. */
static const char *element_text(FraxDType dtype, double v, char buffer[32]) {
    if (dtype == FRAX_F64) return double_text(v, buffer);
    snprintf(buffer, 32, "%.9g", v);
    return buffer;
}

/* Whole blocks by vector code, without a branch for each element. The number outside is counted in the type
   of the elements, so that masks keep their width. */
#define FIND(name, type)                                                                                     \
    static int64_t name(const type *x, int64_t n, type lo, type hi) {                                        \
        enum { BLOCK = 32 };                                                                                 \
        int64_t i = 0;                                                                                       \
        for (; i + BLOCK <= n; i += BLOCK) {                                                                 \
            type above = 0, inside = 0;                                                                      \
            _Pragma("omp simd reduction(+ : above, inside)") for (int k = 0; k < BLOCK; k++) {               \
                above += x[i + k] > hi ? 1 : 0;                                                              \
                inside += x[i + k] >= lo ? 1 : 0;                                                            \
            }                                                                                                \
            if (above > 0 || inside < BLOCK) break;                                                          \
        }                                                                                                    \
        while (i < n && x[i] >= lo && x[i] <= hi) i++;                                                       \
        return i;                                                                                            \
    }

FIND(find_f64, double)
FIND(find_f32, float)

/* The bounds as the nearest floats inside the range: v ≥ lo in f64 means the same as in f32. */
static float at_least(double lo) {
    float f = (float)lo;
    return f < lo ? nextafterf(f, INFINITY) : f;
}

static float at_most(double hi) {
    float f = (float)hi;
    return f > hi ? nextafterf(f, -INFINITY) : f;
}

int64_t guard_find(const Node *guard, FraxDType dtype, const void *data, int64_t n) {
    double lo = guard->attrs->value, hi = guard->attrs->value2;
    if (dtype == FRAX_F64) return find_f64(data, n, lo, hi);
    if (dtype == FRAX_F32) return find_f32(data, n, at_least(lo), at_most(hi));
    for (int64_t i = 0; i < n; i++) {
        double v = element_get(data, dtype, i);
        if (!(v >= lo && v <= hi)) return i;
    }
    return n;
}

size_t graph_offset_input(const Graph *g) {
    size_t i = 0;
    for (; i < g->ninputs; i++) {
        const Node *node = graph_node(g, g->inputs[i]);
        bool counts = node->type.dtype == FRAX_F64 && node->type.shape.rank == 0;
        if (counts && !strcmp(node->attrs->name, STREAM_OFFSET)) break;
    }
    return i;
}

/* Of element i of a chunk, the number in the whole value. */
static double whole_element(const Node *guard, int64_t i, double passed) {
    const Attrs *at = guard->attrs;
    const Shape *shape = &guard->type.shape;
    int64_t inner = 1, chunk = shape->dims[at->axis];
    for (int d = at->axis + 1; d < shape->rank; d++) inner *= shape->dims[d];
    double outer = (double)(i / (chunk * inner)),
           sample = (double)(i / inner % chunk) + passed - (double)at->lag;
    return (outer * (double)at->n + sample) * (double)inner + (double)(i % inner);
}

FraxStatus guard_test(const Graph *g, const Node *guard, double v, int64_t i, double passed, FraxError *err) {
    const Attrs *at = guard->attrs;
    char number[32], element[48] = "";
    if (v >= at->value && v <= at->value2) return FRAX_OK;
    if (at->n)
        snprintf(element, sizeof element, " at element %.0f", whole_element(guard, i, passed));
    else if (shape_size(&guard->type.shape) > 1)
        snprintf(element, sizeof element, " at element %lld", (long long)i);
    const char *text = element_text(guard->type.dtype, v, number);
    if (!g) return fail(err, FRAX_VALUE, "%s is %s, expected %s", at->name, text, at->expected);
    return fail_at(err, FRAX_VALUE, &(Source){.file = g->file}, guard->loc, "%s is %s%s, expected %s",
                   at->name, text, element, at->expected);
}
