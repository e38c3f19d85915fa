/* cli_stream.c — frax run --stream: signals go from NPY files through the model to NPY files, a chunk at a
 * time.
 *
 * Of a streamed input only the file's header is read at first: the sizes are those of the whole signal. Each
 * run takes the next chunk of every streamed input and appends what comes out to the outputs' files, which
 * get their names when the last chunk is done. Memory holds one chunk of each and the states.
 */
#include "cli.h"
#include "files.h"
#include "model.h"
#include <stdlib.h>
#include <string.h>

enum { LONGEST_CHUNK = 16384, CHUNK_BYTES = 16 << 20 };

/* ---- The option ---- */

/* The sample count after the colon; 0 when there is none. */
static FraxStatus parse_chunk(const char *option, const char *colon, int64_t *chunk, FraxError *err) {
    char *end = NULL;
    *chunk = 0;
    if (!colon) return FRAX_OK;
    long long value = strtoll(colon + 1, &end, 10);
    if (end == colon + 1 || *end || value < 1 || value > INT32_MAX)
        return fail(err, FRAX_USAGE, "--stream %s: expected SIZE or SIZE:CHUNK, with a chunk of 1 … %d",
                    option, INT32_MAX);
    *chunk = value;
    return FRAX_OK;
}

FraxStatus stream_options(Session *s, FraxError *err) {
    const char *option = s->cli->stream, *colon = strchr(option, ':');
    Arena *strings = (Arena *)&s->cli->strings;
    size_t index;
    FraxStatus status = parse_chunk(option, colon, &s->options.chunk, err);
    if (status) return status;
    const char *name = arena_strndup(strings, option, colon ? (size_t)(colon - option) : strlen(option));
    s->readers = mem_calloc(MAX(frax_model_count(s->model, FRAX_INPUT), 1), sizeof *s->readers);
    if (!name || !s->readers) return fail_memory(err, "the arguments");
    status = cli_name_status(model_find_size(s->model, name, &index, err), err);
    s->options.stream = name;
    return status;
}

FraxStatus stream_open_input(Session *s, size_t input, const char *path, FraxError *err) {
    size_t size;
    int axis;
    if (!s->options.stream) return FRAX_OK;
    FraxStatus status = model_find_size(s->model, s->options.stream, &size, err);
    if (!status) status = model_size_axis(s->model, size, input, &axis, err);
    if (status || axis < 0) return status;
    if (!has_extension(path, ".npy"))
        return fail(err, FRAX_USAGE, "--in %s=%s: an input that is streamed is read from an NPY file",
                    frax_model_value_name(s->model, FRAX_INPUT, input), path);
    status = npy_open(path, &s->readers[input], err);
    if (status) return status;
    const FraxTensor *t = &s->readers[input].tensor;
    if (axis < t->rank && t->dims[axis] < 2) { /* nothing to stream: the plain run does it */
        npy_close(&s->readers[input]);
        s->options.stream = NULL;
    } else {
        s->inputs[input] = *t;
    }
    return FRAX_OK;
}

/* Steps along an axis in bytes. */
static int64_t step_bytes(const FraxTensor *t, int axis) {
    int64_t bytes = (int64_t)frax_dtype_size(t->dtype);
    for (int i = 0; i < t->rank; i++)
        if (i != axis && mul_overflows(bytes, t->dims[i], &bytes)) return INT64_MAX;
    return bytes;
}

FraxStatus stream_choose_chunk(Session *s, FraxError *err) {
    size_t size;
    int64_t fitting = LONGEST_CHUNK, length = INT64_MAX;
    FraxStatus status = model_find_size(s->model, s->options.stream, &size, err);
    for (size_t i = 0; i < s->ninputs && !status; i++) {
        int axis;
        const FraxTensor *t = &s->inputs[i];
        status = model_size_axis(s->model, size, i, &axis, err);
        if (status || axis < 0 || t->rank <= axis) continue;
        fitting = MIN(fitting, MAX(CHUNK_BYTES / MAX(step_bytes(t, axis), 1), 1));
        length = MIN(length, MAX(t->dims[axis], 1));
    }
    s->options.chunk = MIN(s->options.chunk ? s->options.chunk : fitting, length);
    return status;
}

bool stream_has_input(const Session *s, size_t input) {
    return s->readers && s->readers[input].file.path;
}

void stream_close(Session *s) {
    for (size_t i = 0; s->readers && i < s->ninputs; i++) npy_close(&s->readers[i]);
    mem_free(s->readers);
}

/* ---- A stream ---- */

typedef struct Sink {
    size_t output;
    NpyWriter writer;
} Sink;

typedef struct Stream {
    Session *session;
    const Cli *cli;
    int64_t length, chunk, runs;
    void **chunks; /* by input; NULL where not streamed */
    Sink *sinks;   /* one for each --out of a streamed output */
    size_t nsinks;
} Stream;

static size_t own_outputs(const Session *s) {
    return frax_executable_count(s->exe, FRAX_OUTPUT) - frax_executable_states(s->exe);
}

/* Where a streamed output is named by --out; other outputs are left to results_write. */
static FraxStatus open_sinks(Stream *st, FraxError *err) {
    const Session *s = st->session;
    const Pairs *out = &st->cli->out;
    st->sinks = mem_calloc(MAX(out->count, 1), sizeof *st->sinks);
    if (!st->sinks) return fail_memory(err, "the outputs");
    for (size_t k = 0; k < out->count; k++)
        for (size_t i = 0; i < own_outputs(s); i++) {
            FraxStream place = frax_executable_stream(s->exe, FRAX_OUTPUT, i);
            FraxTensor type = frax_executable_type(s->exe, FRAX_OUTPUT, i);
            const char *path = out->items[k].value;
            if (place.axis < 0 || strcmp(frax_executable_name(s->exe, FRAX_OUTPUT, i), out->items[k].name))
                continue;
            if (!has_extension(path, ".npy"))
                return fail(err, FRAX_USAGE, "--out %s=%s: an output that is streamed goes to an NPY file",
                            out->items[k].name, path);
            type.dims[place.axis] = place.length;
            st->sinks[st->nsinks].output = i;
            FraxStatus status = npy_create(path, &type, &st->sinks[st->nsinks].writer, err);
            if (status) return status;
            st->nsinks++;
        }
    return FRAX_OK;
}

static FraxStatus allocate_chunks(Stream *st, FraxError *err) {
    Session *s = st->session;
    st->chunks = mem_calloc(MAX(s->ninputs, 1), sizeof *st->chunks);
    if (!st->chunks) return fail_memory(err, "the chunks");
    for (size_t i = 0; i < s->ninputs; i++) {
        FraxTensor type = frax_executable_type(s->exe, FRAX_INPUT, i);
        FraxStream place = frax_executable_stream(s->exe, FRAX_INPUT, i);
        if (place.axis < 0) continue;
        st->length = place.length;
        st->chunk = type.dims[place.axis];
        st->chunks[i] = mem_aligned(MAX(tensor_bytes(&type), 8));
        if (!st->chunks[i]) return fail_memory(err, "the chunks");
        s->input_data[i] = st->chunks[i];
    }
    return FRAX_OK;
}

static void free_stream(Stream *st) {
    for (size_t i = 0; st->chunks && i < st->session->ninputs; i++) mem_free(st->chunks[i]);
    for (size_t i = 0; i < st->nsinks; i++) npy_abandon(&st->sinks[i].writer);
    mem_free(st->chunks);
    mem_free(st->sinks);
}

/* ---- Chunks ---- */

/* From rows of `count` steps to rows of `chunk`, whose last step is repeated: like any data of the signal, it
   fails no guard. From the last row on, since rows move up. */
static void fill_up(char *data, const FraxTensor *type, int axis, int64_t count) {
    int64_t outer = 1, step = (int64_t)frax_dtype_size(type->dtype), chunk = type->dims[axis];
    for (int i = 0; i < axis; i++) outer *= type->dims[i];
    for (int i = axis + 1; i < type->rank; i++) step *= type->dims[i];
    for (int64_t o = outer - 1; o >= 0; o--) {
        char *row = data + o * chunk * step;
        memmove(row, data + o * count * step, (size_t)(count * step));
        for (int64_t k = count; k < chunk; k++)
            memcpy(row + k * step, row + (count - 1) * step, (size_t)step);
    }
}

static FraxStatus read_chunk(Stream *st, int64_t start, FraxError *err) {
    const Session *s = st->session;
    int64_t count = MIN(st->chunk, st->length - start);
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < s->ninputs && !status; i++) {
        FraxTensor type = frax_executable_type(s->exe, FRAX_INPUT, i);
        int axis = frax_executable_stream(s->exe, FRAX_INPUT, i).axis;
        if (axis < 0) continue;
        status = npy_read_part(&s->readers[i], axis, start, count, st->chunks[i], err);
        if (!status && count < st->chunk) fill_up(st->chunks[i], &type, axis, count);
    }
    return status;
}

static FraxStatus write_chunk(Stream *st, int64_t start, FraxError *err) {
    const Session *s = st->session;
    FraxStatus status = FRAX_OK;
    for (size_t k = 0; k < st->nsinks && !status; k++) {
        size_t i = st->sinks[k].output;
        FraxStream place = frax_executable_stream(s->exe, FRAX_OUTPUT, i);
        FraxTensor type = session_output(s, i);
        /* Elements start − skip … of the whole, as far as there are any. */
        int64_t first = MAX(start - place.skip, 0), end = MIN(start - place.skip + st->chunk, place.length);
        int64_t step = (int64_t)frax_dtype_size(type.dtype);
        for (int d = place.axis + 1; d < type.rank; d++) step *= type.dims[d];
        const char *data = (const char *)type.data + (first - start + place.skip) * step;
        if (first < end)
            status =
                npy_write_part(&st->sinks[k].writer, place.axis, first, end - first, data, st->chunk, err);
    }
    return status;
}

/* What a run wrote of the states, the next one reads. */
static void exchange_states(Session *s) {
    size_t k = frax_executable_states(s->exe), np = frax_executable_count(s->exe, FRAX_PARAM),
           ny = frax_executable_count(s->exe, FRAX_OUTPUT);
    for (size_t i = 1; i <= k; i++) {
        void *read = s->param_data[np - i];
        s->param_data[np - i] = s->output_data[ny - i];
        s->output_data[ny - i] = read;
    }
}

static FraxStatus run_chunks(Stream *st, FraxError *err) {
    Session *s = st->session;
    size_t k = frax_executable_states(s->exe), np = frax_executable_count(s->exe, FRAX_PARAM);
    FraxStatus status = FRAX_OK;
    for (size_t i = np - k; i < np && !status; i++)
        status = frax_initial_param(s->exe, i, 0, s->param_data[i], err);
    for (int64_t start = 0; start < st->length && !status; start += st->chunk, st->runs++) {
        status = read_chunk(st, start, err);
        if (!status) status = session_run(s, err);
        if (!status) status = write_chunk(st, start, err);
        exchange_states(s);
    }
    return status;
}

/* ---- The report ---- */

static size_t state_bytes(const Session *s) {
    size_t bytes = 0, np = frax_executable_count(s->exe, FRAX_PARAM);
    for (size_t i = np - frax_executable_states(s->exe); i < np; i++) {
        FraxTensor state = session_param(s, i);
        bytes += tensor_bytes(&state);
    }
    return bytes;
}

static void print_json(const Stream *st, const Results *results, Text *out) {
    const Session *s = st->session;
    text_printf(out, "{");
    results_json(results, "outputs", out);
    text_printf(out, ", \"stream\": {\"size\": ");
    json_string(out, s->options.stream);
    text_printf(
        out, ", \"length\": %lld, \"chunk\": %lld, \"runs\": %lld, \"states\": %zu, \"state_bytes\": %zu}}\n",
        (long long)st->length, (long long)st->chunk, (long long)st->runs, frax_executable_states(s->exe),
        state_bytes(s));
}

static void print_text(const Stream *st, const Results *results, Text *out) {
    const Session *s = st->session;
    results_print(results, out);
    for (size_t i = 0; i < own_outputs(s); i++) {
        FraxStream place = frax_executable_stream(s->exe, FRAX_OUTPUT, i);
        FraxTensor type = frax_executable_type(s->exe, FRAX_OUTPUT, i);
        const char *name = frax_executable_name(s->exe, FRAX_OUTPUT, i);
        if (place.axis < 0) continue;
        text_printf(out, "%s %s[", name, frax_dtype_name(type.dtype));
        for (int d = 0; d < type.rank; d++)
            text_printf(out, "%s%lld", d ? "," : "",
                        (long long)(d == place.axis ? place.length : type.dims[d]));
        text_printf(out, "]: streamed; --out %s=FILE.npy writes it\n", name);
    }
}

/* The --out that are not sinks; items are allocated. */
static FraxStatus other_outs(const Stream *st, Pairs *others, FraxError *err) {
    const Pairs *out = &st->cli->out;
    others->items = mem_calloc(MAX(out->count, 1), sizeof *others->items);
    if (!others->items) return fail_memory(err, "the outputs");
    for (size_t k = 0; k < out->count; k++) {
        bool sink = false;
        for (size_t i = 0; i < st->nsinks; i++)
            sink |= !strcmp(frax_executable_name(st->session->exe, FRAX_OUTPUT, st->sinks[i].output),
                            out->items[k].name);
        if (!sink) others->items[others->count++] = out->items[k];
    }
    return FRAX_OK;
}

static FraxStatus finish_files(Stream *st, const Results *results, FraxError *err) {
    Pairs others = {0};
    FraxStatus status = other_outs(st, &others, err);
    if (!status) status = results_write(results, &others, err);
    for (size_t i = 0; i < st->nsinks && !status; i++) status = npy_finish(&st->sinks[i].writer, err);
    mem_free(others.items);
    return status;
}

static FraxStatus report(Stream *st, FraxError *err) {
    Session *s = st->session;
    Results results = {0};
    Text *out = (Text *)&s->cli->text;
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < own_outputs(s) && !status; i++)
        if (frax_executable_stream(s->exe, FRAX_OUTPUT, i).axis < 0)
            status = results_add(&results, frax_executable_name(s->exe, FRAX_OUTPUT, i), session_output(s, i),
                                 err);
    if (!status) status = finish_files(st, &results, err);
    if (!status && s->cli->json)
        print_json(st, &results, out);
    else if (!status && !s->cli->out.count)
        print_text(st, &results, out);
    mem_free(results.items);
    return status;
}

FraxStatus stream_run(Session *s, FraxError *err) {
    Stream st = {.session = s, .cli = s->cli};
    FraxStatus status = session_compile(s, false, err);
    if (!status) status = results_check(s, 0, err);
    if (!status) status = allocate_chunks(&st, err);
    if (!status) status = open_sinks(&st, err);
    if (!status) status = run_chunks(&st, err);
    if (!status) status = report(&st, err);
    free_stream(&st);
    return status;
}
