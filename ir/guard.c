/* guard.c — the verdict on one element of a guard's operand, the same on every target and in folding.
 *
 * A NaN is outside of every range. Where the graph is not given (in the builder, whose faults are put into
 * place by others), the message is without its place in the model.
 */
#include "ir.h"
#include "source.h"

/* As many digits as tell two values of the dtype apart. */
static const char *element_text(FraxDType dtype, double v, char buffer[32]) {
    if (dtype == FRAX_F64) return double_text(v, buffer);
    snprintf(buffer, 32, "%.9g", v);
    return buffer;
}

FraxStatus guard_test(const Graph *g, const Node *guard, double v, int64_t i, int64_t n, FraxError *err) {
    const Attrs *at = guard->attrs;
    char number[32], element[48] = "";
    if (v >= at->value && v <= at->value2) return FRAX_OK;
    if (n > 1) snprintf(element, sizeof element, " at element %lld", (long long)i);
    const char *text = element_text(guard->type.dtype, v, number);
    if (!g) return fail(err, FRAX_VALUE, "%s is %s, expected %s", at->name, text, at->expected);
    return fail_at(err, FRAX_VALUE, &(Source){.file = g->file}, guard->loc, "%s is %s%s, expected %s",
                   at->name, text, element, at->expected);
}
