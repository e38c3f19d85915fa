/* batches.c — which inputs have rows, in what order the rows come, and gathering them.
 *
 * The rows of an epoch are a permutation that depends on the seed and the epoch alone (Fisher–Yates with a
 * Philox stream for each epoch). Rows that do not fill a last batch are left to the next epoch's permutation.
 */
#include "batches.h"
#include "model.h"
#include "passes.h"
#include "philox.h"
#include <ctype.h>
#include <string.h>

struct Batches {
    const char *symbol; /* belongs to the model; only used while creating */
    bool *batched;      /* by input */
    size_t ninputs;
    int64_t rows, batch, next;
    uint64_t seed, epoch;
    int64_t *order;
    void **staging; /* by input; NULL where not batched */
    size_t *row_bytes;
};

/* ---- The symbol of the rows ---- */

/* The first dimension in "f32[B, N]": its text and length; 0 for a scalar. */
static size_t leading_dimension(const char *type, const char **start) {
    const char *open = strchr(type, '[');
    if (!open) return 0;
    *start = open + 1;
    return strcspn(*start, ",]");
}

/* How often the symbol stands in a type. */
static int occurrences(const char *type, const char *symbol) {
    size_t n = strlen(symbol);
    int count = 0;
    for (const char *p = strchr(type, '['); p && (p = strstr(p + 1, symbol));)
        count +=
            !isalnum((unsigned char)p[-1]) && p[-1] != '_' && !isalnum((unsigned char)p[n]) && p[n] != '_';
    return count;
}

static size_t find_symbol(const FraxModel *model, const char *text, size_t length) {
    size_t i = 0;
    for (; i < model_size_count(model); i++) {
        const char *name = model_size_name(model, i);
        if (strlen(name) == length && !strncmp(name, text, length)) break;
    }
    return i;
}

/* Marks the inputs that lead with the symbol; anywhere else it would make a batch another model. */
static FraxStatus mark_inputs(Batches *b, const FraxModel *model, FraxError *err) {
    for (FraxRole role = FRAX_INPUT; role <= FRAX_PARAM; role++)
        for (size_t i = 0; i < model_count(model, role); i++) {
            const char *type = model_value_type(model, role, i), *start = type;
            size_t length = leading_dimension(type, &start);
            bool leads =
                role == FRAX_INPUT && length == strlen(b->symbol) && !strncmp(start, b->symbol, length);
            if (occurrences(type, b->symbol) > leads)
                return fail(err, FRAX_SHAPE,
                            "mini-batches cut the size %s, which may only lead an input; %s is %s", b->symbol,
                            model_value_name(model, role, i), type);
            if (role == FRAX_INPUT) b->batched[i] = leads;
        }
    return FRAX_OK;
}

/* The model of all rows must not read their order. */
static FraxStatus check_order(const Batches *b, const FraxModel *model, const int64_t *values,
                              FraxError *err) {
    Graph *g = NULL;
    FraxError fault = {0};
    FraxStatus status = model_lower(model, values, &g, err);
    if (status) return status;
    status = rows_any_order(g, b->batched, b->symbol, &fault);
    if (status == FRAX_SHAPE) status = model_locate(model, &fault);
    graph_destroy(g);
    if (status && err) *err = fault;
    return status;
}

static FraxStatus find_rows(Batches *b, const FraxModel *model, int64_t *values, FraxError *err) {
    if (!b->ninputs) return fail(err, FRAX_SHAPE, "mini-batches: model %s has no inputs", model_name(model));
    const char *type = model_value_type(model, FRAX_INPUT, 0), *start = "";
    size_t length = leading_dimension(type, &start), symbol = find_symbol(model, start, length);
    if (symbol == model_size_count(model))
        return fail(err, FRAX_SHAPE,
                    "mini-batches need a size symbol as the first input's leading axis; %s is %s",
                    model_value_name(model, FRAX_INPUT, 0), type);
    b->symbol = model_size_name(model, symbol);
    b->rows = values[symbol];
    if (b->rows < b->batch)
        return fail(err, FRAX_VALUE, "a batch of %lld rows was asked for, but there are %lld (%s)",
                    (long long)b->batch, (long long)b->rows, b->symbol);
    FraxStatus status = mark_inputs(b, model, err);
    if (!status) status = check_order(b, model, values, err);
    values[symbol] = b->batch;
    return status;
}

FraxStatus batches_create(const FraxModel *model, const FraxFitOptions *fit, int64_t *values, Batches **out,
                          FraxError *err) {
    Batches *b = *out = mem_calloc(1, sizeof *b);
    if (!b) return fail_memory(err, "mini-batches");
    b->ninputs = model_count(model, FRAX_INPUT);
    b->batch = fit->batch;
    b->seed = fit->seed;
    b->batched = mem_calloc(b->ninputs + 1, sizeof *b->batched);
    b->staging = mem_calloc(b->ninputs + 1, sizeof *b->staging);
    b->row_bytes = mem_calloc(b->ninputs + 1, sizeof *b->row_bytes);
    if (!b->batched || !b->staging || !b->row_bytes) return fail_memory(err, "mini-batches");
    FraxStatus status = find_rows(b, model, values, err);
    if (status) return status;
    b->order = mem_calloc((size_t)MAX(b->rows, 1), sizeof *b->order);
    if (!b->order) return fail_memory(err, "mini-batches");
    b->next = b->rows; /* the first call begins an epoch */
    return FRAX_OK;
}

FraxStatus batches_allocate(Batches *b, const Graph *g, FraxError *err) {
    for (size_t i = 0; b && i < b->ninputs; i++) {
        if (!b->batched[i]) continue;
        const Type *type = graph_type(g, g->inputs[i]);
        size_t bytes = type_bytes(type);
        b->row_bytes[i] = bytes / (size_t)b->batch;
        b->staging[i] = mem_aligned(MAX(bytes, 1));
        if (!b->staging[i]) return fail_memory(err, "mini-batches");
    }
    return FRAX_OK;
}

/* ---- Drawing ---- */

/* 64 random bits for place i of this epoch. The last word of the counter keeps them apart from those that
   fill parameters with the same seed. */
static uint64_t random_bits(const Batches *b, uint64_t i) {
    uint32_t key[2] = {(uint32_t)b->seed, (uint32_t)(b->seed >> 32)}, out[4];
    philox4x32((uint32_t[]){(uint32_t)i, (uint32_t)(i >> 32), (uint32_t)b->epoch, PHILOX_ROWS}, key, out);
    return (uint64_t)out[0] << 32 | out[1];
}

static void shuffle(Batches *b) {
    for (int64_t i = 0; i < b->rows; i++) b->order[i] = i;
    for (int64_t i = b->rows - 1; i > 0; i--) {
        int64_t j = (int64_t)((unsigned __int128)random_bits(b, (uint64_t)i) * (uint64_t)(i + 1) >> 64);
        int64_t other = b->order[j];
        b->order[j] = b->order[i];
        b->order[i] = other;
    }
    b->epoch++;
    b->next = 0;
}

void batches_next(Batches *b, const void **inputs) {
    if (!b) return;
    if (b->next + b->batch > b->rows) shuffle(b);
    for (size_t i = 0; i < b->ninputs; i++) {
        if (!b->batched[i]) continue;
        size_t bytes = b->row_bytes[i];
        for (int64_t r = 0; bytes && r < b->batch; r++)
            memcpy((char *)b->staging[i] + (size_t)r * bytes,
                   (const char *)inputs[i] + (size_t)b->order[b->next + r] * bytes, bytes);
        inputs[i] = b->staging[i];
    }
    b->next += b->batch;
}

bool batches_has(const Batches *b, size_t input) {
    return b && b->batched[input];
}

void batches_destroy(Batches *b) {
    if (!b) return;
    for (size_t i = 0; b->staging && i < b->ninputs; i++) mem_free(b->staging[i]);
    mem_free(b->batched);
    mem_free(b->staging);
    mem_free(b->row_bytes);
    mem_free(b->order);
    mem_free(b);
}
