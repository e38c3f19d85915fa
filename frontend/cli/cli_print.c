/* cli_print.c — results as text, as JSON, and into files.
 *
 * Text shows small arrays in full with every digit that counts (17 significant ones for f64, 9 for f32),
 * large ones as range, mean and ends, to six digits. JSON holds flat row-major data.
 */
#include "cli.h"
#include "files.h"
#include "half.h"
#include <math.h>
#include <string.h>

enum { SMALL = 32, ENDS = 3, JSON_LIMIT = 4096 };

/* Significant digits that bring every value of a dtype back. */
static const int digits[] = {[FRAX_F64] = 17, [FRAX_F32] = 9, [FRAX_BF16] = 4, [FRAX_F16] = 5};

/* ---- Text ---- */

/* printf would show the sign of a NaN, which means nothing. */
static double unsigned_nan(double value) {
    return isnan(value) ? (double)NAN : value;
}

static void print_element(const FraxTensor *tensor, int64_t i, Text *out) {
    double value = element_get(tensor->data, tensor->dtype, i);
    if (tensor->dtype == FRAX_BOOL)
        text_printf(out, "%s", value ? "true" : "false");
    else if (tensor->dtype == FRAX_I32)
        text_printf(out, "%d", (int)value);
    else
        text_printf(out, "%#.*g", digits[tensor->dtype], unsigned_nan(value));
}

static void print_nested(const FraxTensor *tensor, int axis, int64_t *next, Text *out) {
    if (axis == tensor->rank) {
        print_element(tensor, (*next)++, out);
        return;
    }
    text_printf(out, "[");
    for (int64_t i = 0; i < tensor->dims[axis]; i++) {
        if (i) text_printf(out, ", ");
        print_nested(tensor, axis + 1, next, out);
    }
    text_printf(out, "]");
}

/* A large array in one line; --out writes all of it. */
static void print_summary(const FraxTensor *tensor, int64_t count, Text *out) {
    double min = INFINITY, max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double value = unsigned_nan(element_get(tensor->data, tensor->dtype, i));
        min = value < min || isnan(value) ? value : min;
        max = value > max || isnan(value) ? value : max;
        sum += value;
    }
    text_printf(out, "min %.6g, mean %.6g, max %.6g: [", min, unsigned_nan(sum / (double)count), max);
    for (int64_t i = 0; i < ENDS; i++)
        text_printf(out, "%.6g, ", unsigned_nan(element_get(tensor->data, tensor->dtype, i)));
    text_printf(out, "...");
    for (int64_t i = count - ENDS; i < count; i++)
        text_printf(out, ", %.6g", unsigned_nan(element_get(tensor->data, tensor->dtype, i)));
    text_printf(out, "]");
}

static void print_type(const FraxTensor *tensor, Text *out) {
    text_printf(out, "%s[", frax_dtype_name(tensor->dtype));
    for (int i = 0; i < tensor->rank; i++)
        text_printf(out, "%s%lld", i ? "," : "", (long long)tensor->dims[i]);
    text_printf(out, "]");
}

void results_print(const Results *results, Text *out) {
    for (size_t r = 0; r < results->count; r++) {
        const FraxTensor *tensor = &results->items[r].tensor;
        int64_t count = tensor_count(tensor), next = 0;
        text_printf(out, "%s ", results->items[r].name);
        print_type(tensor, out);
        text_printf(out, " = ");
        if (count <= SMALL) {
            print_nested(tensor, 0, &next, out);
        } else {
            print_summary(tensor, count, out);
        }
        text_printf(out, "\n");
    }
}

/* ---- JSON ---- */

void json_string(Text *out, const char *s) {
    text_printf(out, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            text_printf(out, "\\%c", c);
        else if (c < 0x20)
            text_printf(out, "\\u%04x", c);
        else
            text_append(out, s, 1);
    }
    text_printf(out, "\"");
}

void json_number(Text *out, double value) {
    if (isfinite(value))
        text_printf(out, "%.17g", value);
    else
        text_printf(out, "null");
}

static void json_element(const FraxTensor *tensor, int64_t i, Text *out) {
    double value = element_get(tensor->data, tensor->dtype, i);
    if (tensor->dtype == FRAX_BOOL)
        text_printf(out, "%s", value ? "true" : "false");
    else if (isfinite(value) && tensor->dtype != FRAX_F64 && tensor->dtype != FRAX_I32)
        text_printf(out, "%.*g", digits[tensor->dtype], value);
    else
        json_number(out, value);
}

static void json_tensor(const FraxTensor *tensor, Text *out) {
    int64_t count = tensor_count(tensor);
    text_printf(out, "{\"dtype\": \"%s\", \"shape\": [", frax_dtype_name(tensor->dtype));
    for (int i = 0; i < tensor->rank; i++)
        text_printf(out, "%s%lld", i ? ", " : "", (long long)tensor->dims[i]);
    text_printf(out, "], \"data\": [");
    for (int64_t i = 0; i < MIN(count, JSON_LIMIT); i++) {
        if (i) text_printf(out, ", ");
        json_element(tensor, i, out);
    }
    text_printf(out, "]%s}", count > JSON_LIMIT ? ", \"truncated\": true" : "");
}

void results_json(const Results *results, const char *key, Text *out) {
    json_string(out, key);
    text_printf(out, ": {");
    for (size_t r = 0; r < results->count; r++) {
        if (r) text_printf(out, ", ");
        json_string(out, results->items[r].name);
        text_printf(out, ": ");
        json_tensor(&results->items[r].tensor, out);
    }
    text_printf(out, "}");
}

/* ---- Files ---- */

FraxStatus results_add(Results *results, const char *name, FraxTensor tensor, FraxError *err) {
    if (!mem_grow(&results->items, &results->cap, results->count + 1, sizeof *results->items))
        return fail_memory(err, "the results");
    results->items[results->count++] = (struct Result){name, tensor};
    return FRAX_OK;
}

static FraxStatus find_result(const Results *results, const char *name, const FraxTensor **tensor,
                              FraxError *err) {
    for (size_t i = 0; i < results->count; i++)
        if (!strcmp(results->items[i].name, name)) {
            *tensor = &results->items[i].tensor;
            return FRAX_OK;
        }
    const char **names = mem_calloc(MAX(results->count, 1), sizeof *names);
    if (!names) return fail_memory(err, "the results");
    for (size_t i = 0; i < results->count; i++) names[i] = results->items[i].name;
    const char *near = nearest_name(name, names, results->count);
    if (!near && results->count) near = names[0];
    fail(err, FRAX_USAGE, "--out %s: there is no result of this name; did you mean %s?", name,
         near ? near : "");
    mem_free(names);
    return FRAX_USAGE;
}

FraxStatus results_check(const Session *s, size_t first, FraxError *err) {
    Results names = {0};
    const FraxTensor *tensor;
    size_t end = frax_executable_count(s->exe, FRAX_OUTPUT) - frax_executable_states(s->exe);
    FraxStatus status = FRAX_OK;
    for (size_t i = first; i < end && !status; i++)
        status = results_add(&names, frax_executable_name(s->exe, FRAX_OUTPUT, i), (FraxTensor){0}, err);
    for (size_t k = 0; k < s->cli->out.count && !status; k++)
        status = find_result(&names, s->cli->out.items[k].name, &tensor, err);
    mem_free(names.items);
    return status;
}

/* Results for one file go into it together, where the format holds several. */
static FraxStatus write_file(const Results *results, const Pairs *out, size_t first, FraxError *err) {
    const char *path = out->items[first].value;
    NamedTensor *items = mem_calloc(out->count, sizeof *items);
    size_t n = 0;
    if (!items) return fail_memory(err, "the results");
    for (size_t i = first; i < out->count; i++) {
        const FraxTensor *tensor;
        if (!is_same_place(out->items[i].value, path)) continue;
        if (find_result(results, out->items[i].name, &tensor, err) == FRAX_OK)
            items[n++] = (NamedTensor){out->items[i].name, *tensor};
    }
    FraxStatus status;
    if (has_extension(path, ".npz"))
        status = npz_write(path, items, n, err);
    else if (has_extension(path, ".safetensors"))
        status = safetensors_write(path, &(TensorSet){.items = items, .count = n}, err);
    else if (n > 1)
        status = fail(err, FRAX_USAGE, "--out: %s cannot hold %s and %s; .npz and .safetensors can", path,
                      items[0].name, items[1].name);
    else
        status = tensor_write(path, items[0].name, &items[0].tensor, err);
    mem_free(items);
    return status;
}

FraxStatus results_write(const Results *results, const Pairs *out, FraxError *err) {
    const FraxTensor *tensor;
    for (size_t i = 0; i < out->count; i++) {
        FraxStatus status = find_result(results, out->items[i].name, &tensor, err);
        if (status) return status;
    }
    for (size_t i = 0; i < out->count; i++) {
        bool written = false;
        for (size_t j = 0; j < i; j++) written |= is_same_place(out->items[j].value, out->items[i].value);
        FraxStatus status = written ? FRAX_OK : write_file(results, out, i, err);
        if (status) return status;
    }
    return FRAX_OK;
}
