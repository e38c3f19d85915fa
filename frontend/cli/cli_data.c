/* cli_data.c — a model with its data: --in, --size, --set, --load become the buffers of a run.
 *
 * Whatever comes from a file is checked against the model here, where the file's name is known, so that the
 * message can say which file, what it holds and what the model wants.
 */
#include "cli.h"
#include "files.h"
#include "half.h"
#include "model.h"
#include "rng.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t tensor_bytes(const FraxTensor *tensor) {
    return (size_t)tensor_count(tensor) * frax_dtype_size(tensor->dtype);
}

static const char *const target_names[] = {
#define X(code, name) name,
    FRAX_TARGETS(X)
#undef X
};

/* ---- Names ---- */

/* The index of `name` among the model's values of a role; FRAX_NAME where there is none. */
static FraxStatus find_value(const Session *s, FraxRole role, const char *option, const char *name,
                             size_t *index, FraxError *err) {
    static const char *const words[] = {"input", "param", "output"};
    size_t n = frax_model_count(s->model, role);
    const char **names = mem_calloc(MAX(n, 1), sizeof *names);
    if (!names) return fail_memory(err, "names");
    for (size_t i = 0; i < n; i++) names[i] = frax_model_value_name(s->model, role, i);
    FraxStatus status = FRAX_OK;
    for (*index = 0; *index < n && strcmp(names[*index], name); ++*index) continue;
    if (*index == n) {
        const char *near = nearest_name(name, names, n);
        status = fail(err, FRAX_NAME, "--%s %s: model %s has no such %s%s%s%s", option, name,
                      frax_model_name(s->model), words[role], near ? "; did you mean " : "", near ? near : "",
                      near ? "?" : "");
    }
    mem_free(names);
    return status;
}

/* ---- Inputs ---- */

/* "f64[T]" begins with this dtype's name. */
static bool type_has_dtype(const char *type, FraxDType dtype) {
    size_t n = strlen(frax_dtype_name(dtype));
    return !strncmp(type, frax_dtype_name(dtype), n) && (type[n] == '[' || !type[n]);
}

static FraxStatus check_dtype(const char *what, const char *name, const char *path, const FraxTensor *got,
                              const char *type, FraxError *err) {
    if (type_has_dtype(type, got->dtype)) return FRAX_OK;
    int n = (int)strcspn(type, "[");
    return fail(
        err, FRAX_TYPE,
        "%s %s: %s holds %s, the model wants %s; declare it as %s in the model and write cast(%s, %.*s) "
        "where it is used, or convert the file",
        what, name, path, frax_dtype_name(got->dtype), type, frax_dtype_name(got->dtype), name, n, type);
}

static FraxStatus read_inputs(Session *s, FraxError *err) {
    s->ninputs = frax_model_count(s->model, FRAX_INPUT);
    s->inputs = mem_calloc(MAX(s->ninputs, 1), sizeof *s->inputs);
    if (!s->inputs) return fail_memory(err, "the inputs");
    for (size_t i = 0; i < s->ninputs; i++) s->inputs[i].rank = -1;
    for (size_t i = 0; i < s->cli->in.count; i++) {
        const Pair *pair = &s->cli->in.items[i];
        size_t index;
        FraxTensor read = {0};
        FraxStatus status = cli_name_status(find_value(s, FRAX_INPUT, "in", pair->name, &index, err), err);
        if (!status && s->readers) status = stream_open_input(s, index, pair->value, err);
        bool in_parts = !status && stream_has_input(s, index);
        if (!status && !in_parts) status = tensor_read(pair->value, pair->name, &read, err);
        if (status) return status;
        if (!in_parts) s->inputs[index] = read;
        if (model_is_key(s->model, index) && s->inputs[index].dtype != FRAX_I32)
            return fail(
                err, FRAX_TYPE,
                "input %s: %s holds %s; a key is an i32[2]: convert the file, or leave it out for a key "
                "made of --seed",
                pair->name, pair->value, frax_dtype_name(s->inputs[index].dtype));
        status = check_dtype("input", pair->name, pair->value, &s->inputs[index],
                             frax_model_value_type(s->model, FRAX_INPUT, index), err);
        if (status) return status;
    }
    return FRAX_OK;
}

static FraxStatus read_sizes(Session *s, FraxError *err) {
    const Pairs *pairs = &s->cli->size;
    s->sizes = mem_calloc(MAX(pairs->count, 1), sizeof *s->sizes);
    if (!s->sizes) return fail_memory(err, "the sizes");
    for (size_t i = 0; i < pairs->count; i++) {
        char *end;
        size_t index;
        FraxStatus status =
            cli_name_status(model_find_size(s->model, pairs->items[i].name, &index, err), err);
        if (status) return status;
        errno = 0;
        long long value = strtoll(pairs->items[i].value, &end, 10);
        if (*end || errno || value < 0)
            return fail(err, FRAX_USAGE, "--size %s=%s: expected a whole number, 0 or more",
                        pairs->items[i].name, pairs->items[i].value);
        s->sizes[i] = (FraxSize){pairs->items[i].name, value};
    }
    s->options.sizes = s->sizes;
    s->options.nsizes = pairs->count;
    return FRAX_OK;
}

static bool has_value(const Session *s, FraxRole role, const char *name) {
    for (size_t i = 0; i < frax_model_count(s->model, role); i++)
        if (!strcmp(frax_model_value_name(s->model, role, i), name)) return true;
    return false;
}

static FraxStatus fail_wrt(const Session *s, const char *name, FraxError *err) {
    size_t np = frax_model_count(s->model, FRAX_PARAM), n = np + s->ninputs;
    const char **names = mem_calloc(MAX(n, 1), sizeof *names);
    if (!names) return fail_memory(err, "names");
    for (size_t i = 0; i < n; i++)
        names[i] = i < np ? frax_model_value_name(s->model, FRAX_PARAM, i)
                          : frax_model_value_name(s->model, FRAX_INPUT, i - np);
    const char *near = nearest_name(name, names, n);
    mem_free(names);
    return fail(err, FRAX_USAGE, "--wrt %s: model %s has no such param or input%s%s%s", name,
                frax_model_name(s->model), near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* Of --wrt: the i-th name is a param, or an input unless the verb fits, and new. */
static FraxStatus check_wrt(const Session *s, size_t i, FraxError *err) {
    const char *name = s->wrt[i];
    size_t index;
    for (size_t j = 0; j < i; j++)
        if (!strcmp(s->wrt[j], name)) return fail(err, FRAX_USAGE, "--wrt names %s twice", name);
    bool is_input = has_value(s, FRAX_INPUT, name), fits = s->cli->verb == VERB_fit;
    if (fits && is_input)
        return fail(err, FRAX_USAGE, "--wrt %s: %s is an input; only params can be fitted", name, name);
    if (fits) return cli_name_status(find_value(s, FRAX_PARAM, "wrt", name, &index, err), err);
    return is_input || has_value(s, FRAX_PARAM, name) ? FRAX_OK : fail_wrt(s, name, err);
}

/* --of and --wrt A,B; the latter as a list. */
static FraxStatus read_objective(Session *s, FraxError *err) {
    size_t index;
    FraxStatus status = FRAX_OK;
    if (s->cli->of) status = cli_name_status(find_value(s, FRAX_OUTPUT, "of", s->cli->of, &index, err), err);
    if (status || !s->cli->wrt) return status;
    const char *text = s->cli->wrt;
    size_t most = 1;
    for (const char *c = text; *c; c++) most += *c == ',';
    Arena *strings = (Arena *)&s->cli->strings;
    s->wrt = mem_calloc(most, sizeof *s->wrt);
    if (!s->wrt) return fail_memory(err, "the arguments");
    for (size_t i = 0; i < most; i++) {
        size_t n = strcspn(text, ",");
        if (!n) return fail(err, FRAX_USAGE, "--wrt %s: expected NAME,NAME", s->cli->wrt);
        s->wrt[i] = arena_strndup(strings, text, n);
        if (!s->wrt[i]) return fail_memory(err, "the arguments");
        status = check_wrt(s, i, err);
        if (status) return status;
        text += n + (text[n] == ',');
    }
    s->options.wrt = s->wrt;
    s->options.nwrt = most;
    return FRAX_OK;
}

FraxStatus cli_load_model(const Cli *cli, FraxModel **model, FraxError *err) {
    FraxStatus status = frax_model_load(cli->operand, model, err);
    return err->line ? status : cli_name_status(status, err);
}

FraxStatus session_open(Session *s, const Cli *cli, FraxError *err) {
    *s = (Session){.cli = cli, .options = frax_default_options()};
    size_t target = FRAX_CPU;
    FraxStatus status = FRAX_OK;
    if (cli->target)
        status = cli_choose("target", cli->target, target_names, COUNT(target_names), &target, err);
    if (!status) status = cli_check_files(cli, err);
    if (!status) status = cli_load_model(cli, &s->model, err);
    if (!status && cli->stream) status = stream_options(s, err);
    if (!status) status = read_inputs(s, err);
    if (!status && s->options.stream) status = stream_choose_chunk(s, err);
    if (!status) status = read_sizes(s, err);
    if (!status) status = read_objective(s, err);
    if (!status && CLI_GIVEN(cli, device) && target != FRAX_CUDA)
        status = fail(err, FRAX_USAGE, "--device chooses a GPU for --target cuda");
    bool only_on_gpu =
        target == FRAX_CUDA && (cli->verb == VERB_run || cli->verb == VERB_grad || cli->verb == VERB_fit);
    if (!status && only_on_gpu && CLI_GIVEN(cli, threads))
        status = fail(err, FRAX_USAGE, "--threads is not for --target cuda: a GPU has its own");
    if (!status && cli->device > INT_MAX)
        status = fail(err, FRAX_USAGE, "--device %lld: expected a small number", (long long)cli->device);
    s->options.target = (FraxTarget)target;
    s->options.device = (int)MIN(cli->device, INT_MAX);
    s->options.of = cli->of;
    s->options.inputs = s->inputs;
    s->options.threads = (int)cli->threads;
    s->options.no_cache = cli->no_cache;
    s->options.debug = cli->debug_jit;
    return status;
}

/* ---- Parameters ---- */

static bool same_type(const FraxTensor *a, const FraxTensor *b) {
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) same = a->dims[i] == b->dims[i];
    return same;
}

static const char *tensor_text(const FraxTensor *t, char buffer[200]) {
    int n = snprintf(buffer, 200, "%s[", frax_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        n += snprintf(buffer + n, 200 - (size_t)n, "%s%lld", i ? "," : "", (long long)t->dims[i]);
    snprintf(buffer + n, 200 - (size_t)n, "]");
    return buffer;
}

/* Params proper; tangents stand after them in the signature. */
static size_t param_count(const Session *s) {
    return frax_model_count(s->model, FRAX_PARAM);
}

static FraxStatus load_from(Session *s, const TensorSet *set, FraxError *err) {
    char got[200], wanted[200];
    for (size_t i = 0; i < set->count; i++) {
        size_t index;
        char option[300];
        snprintf(option, sizeof option, "load %s", s->cli->load);
        FraxStatus status = find_value(s, FRAX_PARAM, option, set->items[i].name, &index, err);
        if (status) return status;
    }
    for (size_t i = 0; i < param_count(s); i++) {
        FraxTensor param = session_param(s, i);
        const char *name = frax_executable_name(s->exe, FRAX_PARAM, i);
        const FraxTensor *stored = tensor_set_find(set, name);
        if (!stored) return fail(err, FRAX_NAME, "--load %s: param %s is missing", s->cli->load, name);
        if (!same_type(stored, &param))
            return fail(err, stored->dtype == param.dtype ? FRAX_SHAPE : FRAX_TYPE,
                        "--load %s: param %s is %s, the model wants %s", s->cli->load, name,
                        tensor_text(stored, got), tensor_text(&param, wanted));
        if (tensor_bytes(stored)) memcpy(param.data, stored->data, tensor_bytes(stored));
    }
    return FRAX_OK;
}

static FraxStatus load_params(Session *s, FraxError *err) {
    TensorSet set = {0};
    FraxStatus status = safetensors_read(s->cli->load, &set, err);
    if (!status) status = load_from(s, &set, err);
    tensor_set_free(&set);
    return status;
}

/* Was `value`, a number as typed, finite, and is it as an element? */
static bool stays_finite(const FraxTensor *tensor, int64_t i, double value) {
    return isfinite(value) && isfinite(element_get(tensor->data, tensor->dtype, i));
}

/* V[,V…] into a tensor; one number fills it. */
static FraxStatus set_tensor(const char *option, const Pair *pair, const FraxTensor *tensor, FraxError *err) {
    int64_t count = tensor_count(tensor), given = 0;
    double value = 0;
    const char *text = pair->value;
    for (bool more = true; more; given++) {
        char *end;
        value = strtod(text, &end);
        if (end == text || (*end && *end != ','))
            return fail(err, FRAX_USAGE, "--%s %s=%s: expected numbers separated by commas", option,
                        pair->name, pair->value);
        if (given < count) element_set(tensor->data, tensor->dtype, given, value);
        if (given < count && !stays_finite(tensor, given, value))
            return fail(err, FRAX_USAGE, "--%s %s=%s: '%.*s' is not a finite number of %s", option,
                        pair->name, pair->value, (int)(end - text), text, frax_dtype_name(tensor->dtype));
        more = *end == ',';
        text = end + more;
    }
    if (given != 1 && given != count)
        return fail(err, FRAX_SHAPE, "--%s %s: got %lld numbers, expected %s%lld", option, pair->name,
                    (long long)given, count == 1 ? "" : "1 or ", (long long)count);
    for (int64_t i = 1; given == 1 && i < count; i++) element_set(tensor->data, tensor->dtype, i, value);
    return FRAX_OK;
}

/* --tangent NAME=FILE or NAME=V[,V…]; ones where none is given. */
static FraxStatus set_tangent(const Pair *pair, const FraxTensor *tensor, FraxError *err) {
    char got[200], wanted[200], *end;
    strtod(pair->value, &end);
    if (end != pair->value && (!*end || *end == ',')) return set_tensor("tangent", pair, tensor, err);
    FraxTensor read = {0};
    FraxStatus status = tensor_read(pair->value, pair->name, &read, err);
    if (!status && !same_type(&read, tensor))
        status = fail(err, FRAX_SHAPE, "--tangent %s: %s holds %s, expected %s", pair->name, pair->value,
                      tensor_text(&read, got), tensor_text(tensor, wanted));
    if (!status && tensor_bytes(tensor)) memcpy(tensor->data, read.data, tensor_bytes(tensor));
    tensor_free(&read);
    return status;
}

static FraxStatus fill_tangents(Session *s, FraxError *err) {
    size_t n = frax_executable_count(s->exe, FRAX_PARAM) - frax_executable_states(s->exe), used = 0;
    for (size_t i = param_count(s); i < n; i++) {
        FraxTensor tangent = session_param(s, i);
        const char *name = frax_executable_name(s->exe, FRAX_PARAM, i) + strlen("tangent.");
        Pair ones = {name, "1"};
        const Pair *pair = &ones;
        for (size_t j = 0; j < s->cli->tangent.count; j++)
            if (!strcmp(s->cli->tangent.items[j].name, name)) {
                pair = &s->cli->tangent.items[j];
                used++;
            }
        FraxStatus status = set_tangent(pair, &tangent, err);
        if (status) return status;
    }
    if (used < s->cli->tangent.count)
        return fail(err, FRAX_USAGE, "--tangent: only for --mode forward or hvp, and for names in --wrt");
    return FRAX_OK;
}

static FraxStatus fill_params(Session *s, FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < param_count(s) && !status; i++)
        status = frax_initial_param(s->exe, i, (uint64_t)s->cli->seed, s->param_data[i], err);
    if (!status && s->cli->load) status = load_params(s, err);
    for (size_t i = 0; i < s->cli->set.count && !status; i++) {
        size_t index;
        status =
            cli_name_status(find_value(s, FRAX_PARAM, "set", s->cli->set.items[i].name, &index, err), err);
        if (status) break;
        FraxTensor param = session_param(s, index);
        status = set_tensor("set", &s->cli->set.items[i], &param, err);
    }
    return status ? status : fill_tangents(s, err);
}

FraxStatus session_save_params(const Session *s, const char *path, FraxError *err) {
    size_t n = frax_model_count(s->model, FRAX_PARAM);
    NamedTensor *items = mem_calloc(MAX(n, 1), sizeof *items);
    if (!items) return fail_memory(err, "the parameters");
    for (size_t i = 0; i < n; i++)
        items[i] = (NamedTensor){frax_executable_name(s->exe, FRAX_PARAM, i), session_param(s, i)};
    FraxStatus status = safetensors_write(path, &(TensorSet){.items = items, .count = n}, err);
    mem_free(items);
    return status;
}

/* ---- Buffers ---- */

static FraxStatus allocate(const Session *s, FraxRole role, void ***buffers, FraxError *err) {
    size_t n = frax_executable_count(s->exe, role);
    *buffers = mem_calloc(MAX(n, 1), sizeof **buffers);
    if (!*buffers) return fail_memory(err, "the results");
    for (size_t i = 0; i < n; i++) {
        FraxTensor type = frax_executable_type(s->exe, role, i);
        (*buffers)[i] = mem_aligned(MAX(tensor_bytes(&type), 1));
        if (!(*buffers)[i]) return fail_memory(err, frax_executable_name(s->exe, role, i));
    }
    return FRAX_OK;
}

/* A key is the words of --seed. */
static FraxStatus make_input(Session *s, size_t i, FraxError *err) {
    FraxTensor type = frax_executable_type(s->exe, FRAX_INPUT, i);
    type.data = mem_aligned(MAX(tensor_bytes(&type), 1));
    if (!type.data) return fail_memory(err, frax_executable_name(s->exe, FRAX_INPUT, i));
    s->inputs[i] = type;
    if (model_is_key(s->model, i)) {
        uint32_t words[] = {(uint32_t)s->cli->seed, (uint32_t)((uint64_t)s->cli->seed >> 32)};
        memcpy(type.data, words, sizeof words);
        return FRAX_OK;
    }
    /* Labels 0 and 1 are valid for any number of classes from two on. Inputs take streams that params do not.
     */
    fill_noise(&type, (uint64_t)s->cli->seed, 1u << 31 | (uint32_t)i, 2);
    return FRAX_OK;
}

FraxStatus session_prepare(Session *s, FraxError *err) {
    FraxStatus status = frax_compile(s->model, &s->options, &s->exe, err);
    if (!status) status = allocate(s, FRAX_PARAM, &s->param_data, err);
    return status ? status : fill_params(s, err);
}

FraxStatus session_compile(Session *s, bool missing_noise, FraxError *err) {
    for (size_t i = 0; i < s->ninputs && !missing_noise; i++)
        if (s->inputs[i].rank < 0 && !model_is_key(s->model, i))
            return fail(err, FRAX_USAGE, "input %s %s is missing: give --in %s=FILE.npy",
                        frax_model_value_name(s->model, FRAX_INPUT, i),
                        frax_model_value_type(s->model, FRAX_INPUT, i),
                        frax_model_value_name(s->model, FRAX_INPUT, i));
    FraxStatus status = session_prepare(s, err);
    if (!status) status = allocate(s, FRAX_OUTPUT, &s->output_data, err);
    for (size_t i = 0; i < s->ninputs && !status; i++)
        if (s->inputs[i].rank < 0) status = make_input(s, i, err);
    if (status) return status;
    s->input_data = mem_calloc(MAX(s->ninputs, 1), sizeof *s->input_data);
    if (!s->input_data) return fail_memory(err, "the inputs");
    for (size_t i = 0; i < s->ninputs; i++) s->input_data[i] = s->inputs[i].data;
    return FRAX_OK;
}

FraxStatus session_run(Session *s, FraxError *err) {
    return frax_run(s->exe, (const void *const *)s->input_data, (const void *const *)s->param_data,
                    s->output_data, err);
}

FraxTensor session_output(const Session *s, size_t i) {
    FraxTensor tensor = frax_executable_type(s->exe, FRAX_OUTPUT, i);
    tensor.data = s->output_data[i];
    return tensor;
}

FraxTensor session_param(const Session *s, size_t i) {
    FraxTensor tensor = frax_executable_type(s->exe, FRAX_PARAM, i);
    tensor.data = s->param_data[i];
    return tensor;
}

static void free_all(void **buffers, size_t n) {
    for (size_t i = 0; buffers && i < n; i++) mem_free(buffers[i]);
    mem_free(buffers);
}

void session_close(Session *s) {
    if (s->exe) {
        free_all(s->param_data, frax_executable_count(s->exe, FRAX_PARAM));
        free_all(s->output_data, frax_executable_count(s->exe, FRAX_OUTPUT));
    }
    for (size_t i = 0; s->inputs && i < s->ninputs; i++)
        if (s->inputs[i].rank >= 0) tensor_free(&s->inputs[i]);
    mem_free(s->inputs);
    mem_free(s->input_data);
    mem_free(s->wrt);
    mem_free(s->sizes);
    stream_close(s);
    frax_executable_destroy(s->exe);
    frax_model_destroy(s->model);
    *s = (Session){0};
}
