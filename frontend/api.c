/* api.c — the implementation of frax.h but for fitting: models, compiling, running, signatures.
 *
 * frax_compile binds the sizes, lowers the model to a graph, appends what the mode asks for (derivatives
 * under the names grad.*, tangent.*, hvp.*), and makes the graph executable. Everything that can be wrong
 * with a call is checked there, so that frax_run only gathers pointers.
 */
#include "api.h"
#include "model.h"
#include "passes.h"
#include "rng.h"
#include <errno.h>
#include <string.h>

enum { STACK_POINTERS = 128 };

/* ---- Models ---- */

/* The whole file as text. */
static FraxStatus read_text(const char *path, Text *text, FraxError *err) {
    FILE *file = fopen(path, "rb");
    if (!file) return fail(err, FRAX_FILE, "%s: %s", path, strerror(errno));
    char block[8192];
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) text_append(text, block, n);
    FraxStatus status = FRAX_OK;
    if (ferror(file)) status = fail(err, FRAX_FILE, "%s: %s", path, strerror(errno));
    fclose(file);
    if (text->failed) status = fail_memory(err, path);
    return status;
}

/* Faults that may be there for some sizes only are left to frax_compile, which knows the sizes. */
static FraxStatus parse_and_check(const char *text, size_t length, const char *file, const char *name,
                                  FraxModel **model, FraxError *err) {
    FraxError local = {0};
    FraxStatus status = model_parse(text, length, file, name, model, err);
    if (status) return status;
    status = model_check(*model, NULL, &local);
    if (!status || status == FRAX_SHAPE || status == FRAX_VALUE) return FRAX_OK;
    model_destroy(*model);
    *model = NULL;
    if (err) *err = local;
    return status;
}

/* A colon after the last dot or slash separates the model's name. */
size_t model_path_length(const char *spec) {
    const char *colon = strrchr(spec, ':');
    if (colon && (strchr(colon, '/') || !colon[1] || colon == spec)) colon = NULL;
    return colon ? (size_t)(colon - spec) : strlen(spec);
}

FraxStatus frax_model_load(const char *spec, FraxModel **model, FraxError *err) {
    if (!model) return fail(err, FRAX_USAGE, "frax_model_load: model is NULL");
    *model = NULL;
    if (!spec) return fail(err, FRAX_USAGE, "frax_model_load: spec is NULL");
    size_t n = model_path_length(spec);
    char *path = mem_strdup(spec);
    if (!path) return fail_memory(err, spec);
    path[n] = 0;
    Text text = {0};
    FraxStatus status = read_text(path, &text, err);
    if (!status)
        status = parse_and_check(text.data ? text.data : "", text.len, path, spec[n] ? spec + n + 1 : NULL,
                                 model, err);
    text_free(&text);
    mem_free(path);
    return status;
}

FraxStatus frax_model_parse(const char *text, const char *file, const char *name, FraxModel **model,
                            FraxError *err) {
    if (!model) return fail(err, FRAX_USAGE, "frax_model_parse: model is NULL");
    *model = NULL;
    if (!text) return fail(err, FRAX_USAGE, "frax_model_parse: text is NULL");
    return parse_and_check(text, strlen(text), file ? file : "<text>", name, model, err);
}

void frax_model_destroy(FraxModel *model) {
    model_destroy(model);
}

size_t frax_model_count(const FraxModel *model, FraxRole role) {
    return handle_is(model, HANDLE_MODEL) ? model_count(model, role) : 0;
}

const char *frax_model_value_name(const FraxModel *model, FraxRole role, size_t i) {
    return handle_is(model, HANDLE_MODEL) ? model_value_name(model, role, i) : NULL;
}

const char *frax_model_value_type(const FraxModel *model, FraxRole role, size_t i) {
    return handle_is(model, HANDLE_MODEL) ? model_value_type(model, role, i) : NULL;
}

const char *frax_model_name(const FraxModel *model) {
    return handle_is(model, HANDLE_MODEL) ? model_name(model) : NULL;
}

const char *frax_model_text(const FraxModel *model) {
    return handle_is(model, HANDLE_MODEL) ? model_text(model) : NULL;
}

/* ---- Sizes ---- */

static FraxStatus check_options(const FraxOptions *options, FraxError *err) {
    if ((unsigned)options->target > FRAX_CUDA)
        return fail(err, FRAX_USAGE, "options.target is %d, which is no FraxTarget", (int)options->target);
    if ((unsigned)options->mode > FRAX_VJP)
        return fail(err, FRAX_USAGE, "options.mode is %d, which is no FraxMode", (int)options->mode);
    if (options->order < 0 || (options->order > 1 && options->mode != FRAX_VJP))
        return fail(err, FRAX_USAGE, "options.order is %d; expected 0 or 1, or more with FRAX_VJP",
                    options->order);
    if (options->order > FRAX_MAX_ORDER)
        return fail(err, FRAX_USAGE,
                    "options.order is %d; expected at most %d: every application doubles the graph",
                    options->order, FRAX_MAX_ORDER);
    if (options->threads < 0)
        return fail(err, FRAX_USAGE, "options.threads is %d; expected 0 or more", options->threads);
    if (options->device < 0)
        return fail(err, FRAX_USAGE, "options.device is %d; expected 0 or more", options->device);
    if ((options->nsizes && !options->sizes) || (options->nwrt && !options->wrt) ||
        (options->nlayouts && !options->layouts))
        return fail(err, FRAX_USAGE, "options: a list is NULL, but its count is not 0");
    return FRAX_OK;
}

/* The shapes that are given, as model_bind wants them. */
static FraxStatus given_shapes(const FraxModel *model, const FraxOptions *options, const FraxTensor **shapes,
                               FraxError *err) {
    for (size_t i = 0; options->inputs && i < model_count(model, FRAX_INPUT); i++) {
        const FraxTensor *input = &options->inputs[i];
        const char *name = model_value_name(model, FRAX_INPUT, i);
        if (input->rank < 0) continue;
        if (input->rank > MAX_RANK)
            return fail(err, FRAX_SHAPE, "input %s: rank %d is beyond the limit of %d", name, input->rank,
                        MAX_RANK);
        if (input->dtype != model_value_dtype(model, FRAX_INPUT, i))
            return fail(err, FRAX_TYPE, "input %s: got %s, expected %s", name, frax_dtype_name(input->dtype),
                        model_value_type(model, FRAX_INPUT, i));
        shapes[i] = input;
    }
    return FRAX_OK;
}

FraxStatus bind_options(const FraxModel *model, const FraxOptions *options, int64_t **values,
                        FraxError *err) {
    const FraxTensor **shapes = mem_calloc(MAX(model_count(model, FRAX_INPUT), 1), sizeof *shapes);
    *values = mem_calloc(MAX(model_size_count(model), 1), sizeof **values);
    FraxStatus status = shapes && *values ? FRAX_OK : fail_memory(err, "sizes");
    if (!status) status = check_options(options, err);
    if (!status) status = given_shapes(model, options, shapes, err);
    if (!status) status = model_bind(model, shapes, options->sizes, options->nsizes, *values, err);
    mem_free(shapes);
    if (!status) return FRAX_OK;
    mem_free(*values);
    *values = NULL;
    return status;
}

/* ---- Names in a graph ---- */

static const char *input_name(const Graph *g, size_t i) {
    return graph_node(g, g->inputs[i])->attrs->name;
}

static FraxStatus fail_name(const Graph *g, const char *what, const char *name, bool outputs,
                            FraxError *err) {
    size_t n = outputs ? g->noutputs : g->ninputs;
    const char **names = mem_calloc(MAX(n, 1), sizeof *names);
    if (!names) return fail_memory(err, "names");
    for (size_t i = 0; i < n; i++) names[i] = outputs ? g->outputs[i].name : input_name(g, i);
    const char *near = nearest_name(name, names, n);
    fail(err, FRAX_NAME, "model %s has no %s %s%s%s%s", g->name, what, name, near ? "; did you mean " : "",
         near ? near : "", near ? "?" : "");
    mem_free(names);
    return FRAX_NAME;
}

FraxStatus find_objective(const Graph *g, const char *of, Value *value, FraxError *err) {
    const char *name = of ? of : "loss";
    char type[176];
    size_t i = 0;
    while (i < g->noutputs && strcmp(g->outputs[i].name, name)) i++;
    if (i == g->noutputs) return fail_name(g, "output", name, true, err);
    *value = g->outputs[i].value;
    const Type *t = graph_type(g, *value);
    if (dtype_is_float(t->dtype) && t->shape.rank == 0) return FRAX_OK;
    return fail(err, t->shape.rank ? FRAX_SHAPE : FRAX_TYPE,
                "output %s is %s; only a floating scalar can be differentiated: reduce it, with mean or sum",
                name, type_text(t, type));
}

static FraxStatus find_one_wrt(const Graph *g, const char *name, bool params_only, Value *value,
                               FraxError *err) {
    char type[176];
    if (!name) return fail(err, FRAX_USAGE, "options.wrt holds NULL");
    for (size_t i = 0; i < g->ninputs; i++) {
        if (strcmp(input_name(g, i), name)) continue;
        *value = g->inputs[i];
        const Node *node = graph_node(g, *value);
        if (params_only && node->op != OP_param)
            return fail(err, FRAX_NAME, "%s is an input; only params can be fitted", name);
        if (dtype_is_float(node->type.dtype)) return FRAX_OK;
        return fail(err, FRAX_TYPE, "%s is %s; only floating values can be differentiated by", name,
                    type_text(&node->type, type));
    }
    return fail_name(g, params_only ? "param" : "param or input", name, false, err);
}

FraxStatus find_wrt(const Graph *g, const FraxOptions *options, bool params_only, Value **wrt, size_t *nwrt,
                    FraxError *err) {
    size_t n = 0;
    FraxStatus status = FRAX_OK;
    *wrt = mem_calloc(MAX(options->wrt ? options->nwrt : g->ninputs, 1), sizeof **wrt);
    if (!*wrt) return fail_memory(err, "names");
    for (size_t i = 0; options->wrt && i < options->nwrt && !status; i++, n++)
        status = find_one_wrt(g, options->wrt[i], params_only, &(*wrt)[n], err);
    for (size_t i = 1; i < n && !status; i++)
        for (size_t j = 0; j < i; j++)
            if ((*wrt)[i] == (*wrt)[j]) status = fail(err, FRAX_NAME, "wrt names %s twice", options->wrt[i]);
    for (size_t i = 0; !options->wrt && i < g->ninputs; i++) {
        const Node *node = graph_node(g, g->inputs[i]);
        if (node->op == OP_param && dtype_is_float(node->type.dtype)) (*wrt)[n++] = g->inputs[i];
    }
    if (!status && n == 0)
        status = fail(err, FRAX_NAME, "model %s has no params to differentiate by", g->name);
    *nwrt = n;
    if (!status) return FRAX_OK;
    mem_free(*wrt);
    *wrt = NULL;
    return status;
}

/* ---- Derivatives ---- */

/* "PREFIX.NAME" as an output, or as an input of x's type. */
static void add_output(Graph *g, const char *prefix, const char *name, Value value) {
    const char *full = arena_printf(&g->arena, "%s.%s", prefix, name);
    if (full)
        graph_output(g, full, value);
    else
        graph_fail(g, FRAX_MEMORY, "out of memory for the derivatives' names");
}

static Value add_tangent(Graph *g, Value x) {
    const char *full = arena_printf(&g->arena, "tangent.%s", graph_node(g, x)->attrs->name);
    if (!full) return graph_fail(g, FRAX_MEMORY, "out of memory for the derivatives' names");
    return g_input(g, full, *graph_type(g, x));
}

/* Room for the values that a mode works with: n each. */
typedef struct Work {
    Value *wrt, *tangents, *grads, *products;
    size_t n;
} Work;

static FraxStatus append_gradient(Graph *g, const FraxOptions *options, Work *w, FraxError *err) {
    Value objective;
    FraxStatus status = find_objective(g, options->of, &objective, err);
    if (!status) status = gradient(g, objective, NO_VALUE, w->wrt, w->n, w->grads, err);
    for (size_t i = 0; i < w->n && !status; i++)
        add_output(g, "grad", graph_node(g, w->wrt[i])->attrs->name, w->grads[i]);
    return status;
}

static FraxStatus append_products(Graph *g, const FraxOptions *options, Work *w, FraxError *err) {
    FraxStatus status = append_gradient(g, options, w, err);
    if (!status) status = jvp(g, w->grads, w->n, w->wrt, w->tangents, w->n, w->products, err);
    for (size_t i = 0; i < w->n && !status; i++) {
        Value product = w->products[i] == NO_VALUE ? g_like(g, w->wrt[i], 0) : w->products[i];
        add_output(g, "hvp", graph_node(g, w->wrt[i])->attrs->name, product);
    }
    return status;
}

static FraxStatus append_tangents(Graph *g, const FraxOptions *options, Work *w, FraxError *err) {
    (void)options;
    size_t n = g->noutputs;
    Value *outputs = mem_calloc(MAX(n, 1), sizeof *outputs),
          *tangents = mem_calloc(MAX(n, 1), sizeof *tangents);
    FraxStatus status = outputs && tangents ? FRAX_OK : fail_memory(err, "tangents");
    for (size_t i = 0; i < n && !status; i++) outputs[i] = g->outputs[i].value;
    if (!status) status = jvp(g, outputs, n, w->wrt, w->tangents, w->n, tangents, err);
    for (size_t i = 0; i < n && !status; i++) {
        if (!dtype_is_float(graph_type(g, outputs[i])->dtype)) continue;
        Value tangent = tangents[i] == NO_VALUE ? g_like(g, outputs[i], 0) : tangents[i];
        add_output(g, "tangent", g->outputs[i].name, tangent);
    }
    mem_free(outputs);
    mem_free(tangents);
    return status;
}

typedef FraxStatus Append(Graph *g, const FraxOptions *options, Work *w, FraxError *err);

static Append *const appends[] = {
    [FRAX_REVERSE] = append_gradient, [FRAX_JVP] = append_tangents, [FRAX_HVP] = append_products};

static FraxStatus differentiate(Graph *g, const FraxOptions *options, FraxError *err) {
    if (options->mode == FRAX_FORWARD) return FRAX_OK;
    if (options->mode == FRAX_VJP) return differentiate_outputs(g, options, err);
    Work w = {0};
    FraxStatus status = find_wrt(g, options, false, &w.wrt, &w.n, err);
    if (status) return status;
    Value *values = mem_calloc(3 * w.n, sizeof *values);
    if (!values) status = fail_memory(err, "derivatives");
    if (!status) {
        w.tangents = values;
        w.grads = values + w.n;
        w.products = values + 2 * w.n;
        for (size_t i = 0; i < w.n && options->mode != FRAX_REVERSE; i++)
            w.tangents[i] = add_tangent(g, w.wrt[i]);
        status = graph_status(g, err);
    }
    if (!status) status = appends[options->mode](g, options, &w, err);
    mem_free(values);
    mem_free(w.wrt);
    return status ? status : graph_status(g, err);
}

FraxStatus model_graph(const FraxModel *model, const FraxOptions *options, Graph **graph,
                       FraxExecutable *streams, FraxError *err) {
    int64_t *values;
    *graph = NULL;
    FraxStatus status = bind_options(model, options, &values, err);
    if (status) return status;
    const Watch watch = watch_of(options);
    status = watch_stage(&watch, "lowering", 0, 1, err);
    if (!status) status = model_lower(model, values, graph, err);
    if (!status) status = watch_stage(&watch, "differentiating", 0, 1, err);
    if (!status) status = differentiate(*graph, options, err);
    if (!status && options->stream) status = stream_model(model, options, values, graph, streams, err);
    mem_free(values);
    if (!status) return FRAX_OK;
    graph_destroy(*graph);
    *graph = NULL;
    return status;
}

/* ---- Executables ---- */

FraxOptions frax_default_options(void) {
    return (FraxOptions){.target = FRAX_CPU, .mode = FRAX_FORWARD};
}

FraxStatus compile_graph(Graph *g, const FraxOptions *options, Executable **exe, FraxError *err) {
    ExecutableOptions how = {.target = options->target,
                             .device = options->device,
                             .threads = options->threads,
                             .no_cache = options->no_cache != 0,
                             .debug = options->debug != 0,
                             .watch = watch_of(options)};
    return executable_create(g, &how, exe, err);
}

FraxStatus frax_compile(const FraxModel *model, const FraxOptions *options, FraxExecutable **exe,
                        FraxError *err) {
    if (!exe) return fail(err, FRAX_USAGE, "frax_compile: exe is NULL");
    *exe = NULL;
    if (!handle_is(model, HANDLE_MODEL)) return handle_fail(model, "frax_compile", "model", err);
    FraxOptions defaults = frax_default_options();
    if (!options) options = &defaults;
    FraxExecutable *made = mem_calloc(1, sizeof *made);
    if (!made) return fail_memory(err, "the executable");
    made->kind = HANDLE_EXECUTABLE;
    Graph *graph;
    FraxStatus status = model_graph(model, options, &graph, made, err);
    if (!status) {
        made->counts[FRAX_INPUT] = model_count(model, FRAX_INPUT);
        made->counts[FRAX_PARAM] = graph->ninputs - made->counts[FRAX_INPUT];
        made->nparams = model_count(model, FRAX_PARAM);
        made->nfurther = made->counts[FRAX_PARAM] - made->nparams;
        made->counts[FRAX_OUTPUT] = graph->noutputs;
        status = apply_layouts(made, graph, options, err);
        if (status)
            graph_destroy(graph);
        else
            status = compile_graph(graph, options, &made->exe, err);
    }
    if (status)
        frax_executable_destroy(made);
    else
        *exe = made;
    return status;
}

void frax_executable_destroy(FraxExecutable *exe) {
    if (!handle_is(exe, HANDLE_EXECUTABLE) || exe->has_state) return; /* a trainer's goes with it */
    executable_destroy(exe->exe);
    mem_free(exe->inputs);
    mem_free(exe->outputs);
    handle_free(exe);
}

size_t frax_executable_count(const FraxExecutable *exe, FraxRole role) {
    return handle_is(exe, HANDLE_EXECUTABLE) && (unsigned)role <= FRAX_OUTPUT ? exe->counts[role] : 0;
}

/* The graph's value at this place of the signature. */
static Value signature_value(const FraxExecutable *exe, FraxRole role, size_t i) {
    if (i >= frax_executable_count(exe, role)) return NO_VALUE;
    return graph_value(exe, executable_graph(exe->exe), role, i);
}

const Type *signature_type(const FraxExecutable *exe, FraxRole role, size_t i) {
    Value v = signature_value(exe, role, i);
    return v == NO_VALUE ? NULL : graph_type(executable_graph(exe->exe), v);
}

const char *frax_executable_name(const FraxExecutable *exe, FraxRole role, size_t i) {
    Value v = signature_value(exe, role, i);
    if (v == NO_VALUE) return NULL;
    const Graph *g = executable_graph(exe->exe);
    return role == FRAX_OUTPUT ? g->outputs[i].name : graph_node(g, v)->attrs->name;
}

static FraxStatus fail_find(const FraxExecutable *exe, FraxRole role, const char *name, FraxError *err) {
    static const char *const words[] = {"input", "param", "output"};
    size_t n = frax_executable_count(exe, role);
    const char **names = mem_calloc(MAX(n, 1), sizeof *names);
    if (!names) return fail_memory(err, "names");
    for (size_t i = 0; i < n; i++) names[i] = frax_executable_name(exe, role, i);
    const char *near = nearest_name(name, names, n);
    fail(err, FRAX_NAME, "frax_executable_find: model %s has no %s %s%s%s%s",
         executable_graph(exe->exe)->name, words[role], name, near ? "; did you mean " : "", near ? near : "",
         near ? "?" : "");
    mem_free(names);
    return FRAX_NAME;
}

FraxStatus frax_executable_find(const FraxExecutable *exe, FraxRole role, const char *name, size_t *index,
                                FraxError *err) {
    if (!handle_is(exe, HANDLE_EXECUTABLE)) return handle_fail(exe, "frax_executable_find", "exe", err);
    if ((unsigned)role > FRAX_OUTPUT || !name || !index)
        return fail(err, FRAX_USAGE, "frax_executable_find: %s",
                    !name    ? "name is NULL"
                    : !index ? "index is NULL"
                             : "role is no FraxRole");
    for (size_t i = 0; i < frax_executable_count(exe, role); i++)
        if (!strcmp(frax_executable_name(exe, role, i), name)) {
            *index = i;
            return FRAX_OK;
        }
    return fail_find(exe, role, name, err);
}

FraxTensor frax_executable_type(const FraxExecutable *exe, FraxRole role, size_t i) {
    const Type *type = signature_type(exe, role, i);
    if (!type) return (FraxTensor){.rank = -1};
    FraxTensor tensor = {.dtype = type->dtype, .rank = type->shape.rank};
    memcpy(tensor.dims, type->shape.dims, sizeof tensor.dims);
    return tensor;
}

FraxStream frax_executable_stream(const FraxExecutable *exe, FraxRole role, size_t i) {
    const FraxStream whole = {-1, 0, 1};
    if (i >= frax_executable_count(exe, role) || !exe->inputs) return whole;
    if (role == FRAX_OUTPUT) return i < exe->counts[FRAX_OUTPUT] - exe->nstates ? exe->outputs[i] : whole;
    size_t at = role == FRAX_PARAM ? param_position(exe, i) : i,
           further = exe->counts[FRAX_INPUT] + exe->nfurther;
    if (at >= further - exe->nstates) return whole; /* states and params */
    return exe->inputs[at];
}

size_t frax_executable_states(const FraxExecutable *exe) {
    return handle_is(exe, HANDLE_EXECUTABLE) ? exe->nstates : 0;
}

FraxMemory frax_executable_memory(const FraxExecutable *exe) {
    if (!handle_is(exe, HANDLE_EXECUTABLE)) return (FraxMemory){0};
    ExecutableStats s = executable_stats(exe->exe);
    return (FraxMemory){.temporary_bytes = s.arena_bytes,
                        .live_bytes = s.live_bytes,
                        .static_bytes = s.static_bytes,
                        .moved_bytes = s.moved_bytes,
                        .kernels = s.kernels,
                        .compile_seconds = s.compile_seconds,
                        .from_cache = s.from_cache};
}

/* ---- Running ---- */

/* Why a pointer of the caller's is refused: it is to be there, and at a multiple of its element's size. */
static FraxStatus pointer_fail(const FraxExecutable *exe, const char *call, FraxRole role, size_t i,
                               const void *const *pointers, FraxError *err) {
    static const char *const words[] = {"input", "param", "output"};
    const char *name = frax_executable_name(exe, role, i);
    if (!pointers || !pointers[i])
        return fail(err, FRAX_USAGE, "%s: the pointer to %s %s is NULL", call, words[role], name);
    FraxDType dtype = frax_executable_type(exe, role, i).dtype;
    return fail(err, FRAX_USAGE,
                "%s: %s %s is at address %p; an array of %s begins at a multiple of %zu bytes "
                "(frax_run_views copies others)",
                call, words[role], name, pointers[i], frax_dtype_name(dtype), frax_dtype_size(dtype));
}

static inline bool is_fit(const Graph *g, Value v, const void *const *pointers, size_t i) {
    const Type *type = graph_type(g, v);
    if (!pointers || !pointers[i]) return pointers && !type_bytes(type);
    return ((uintptr_t)pointers[i] & (frax_dtype_size(type->dtype) - 1)) == 0;
}

FraxStatus check_inputs(const FraxExecutable *exe, const char *call, const void *const *inputs,
                        FraxError *err) {
    const Graph *g = executable_graph(exe->exe);
    for (size_t i = 0; i < exe->counts[FRAX_INPUT]; i++)
        if (!is_fit(g, g->inputs[i], inputs, i)) return pointer_fail(exe, call, FRAX_INPUT, i, inputs, err);
    return FRAX_OK;
}

static const char run_call[] = "frax_run";

/* The pointers in the order of the graph's inputs. */
static FraxStatus gather(const FraxExecutable *exe, const void *const *inputs, const void *const *params,
                         const void **all, FraxError *err) {
    const Graph *g = executable_graph(exe->exe);
    FraxStatus status = check_inputs(exe, run_call, inputs, err);
    if (status) return status;
    for (size_t i = 0; i < exe->counts[FRAX_INPUT]; i++) all[i] = inputs[i];
    for (size_t i = 0; i < exe->counts[FRAX_PARAM]; i++) {
        size_t at = param_position(exe, i);
        if (!is_fit(g, g->inputs[at], params, i))
            return pointer_fail(exe, run_call, FRAX_PARAM, i, params, err);
        all[at] = params[i];
    }
    return FRAX_OK;
}

static FraxStatus check_outputs(const FraxExecutable *exe, void *const *outputs, FraxError *err) {
    const Graph *g = executable_graph(exe->exe);
    const void *const *pointers = (const void *const *)outputs;
    for (size_t i = 0; i < exe->counts[FRAX_OUTPUT]; i++)
        if (!is_fit(g, g->outputs[i].value, pointers, i))
            return pointer_fail(exe, run_call, FRAX_OUTPUT, i, pointers, err);
    return FRAX_OK;
}

FraxStatus frax_run(const FraxExecutable *exe, const void *const *inputs, const void *const *params,
                    void *const *outputs, FraxError *err) {
    if (!handle_is(exe, HANDLE_EXECUTABLE)) return handle_fail(exe, "frax_run", "exe", err);
    if (exe->has_state) return fail(err, FRAX_USAGE, "frax_run: this executable belongs to a trainer");
    const void *few[STACK_POINTERS], **all = few;
    size_t n = exe->counts[FRAX_INPUT] + exe->counts[FRAX_PARAM];
    if (n > STACK_POINTERS && !(all = mem_alloc(n * sizeof *all))) return fail_memory(err, "frax_run");
    FraxStatus status = gather(exe, inputs, params, all, err);
    if (!status) status = check_outputs(exe, outputs, err);
    if (!status) status = executable_run(exe->exe, all, outputs, err);
    if (all != few) mem_free(all);
    return status;
}

static FraxStatus write_initial(const FraxExecutable *exe, size_t i, uint64_t seed, void *data,
                                FraxError *err) {
    const Node *node = graph_node(executable_graph(exe->exe), signature_value(exe, FRAX_PARAM, i));
    if (i >= exe->counts[FRAX_PARAM] - exe->nstates)
        memset(data, 0, type_bytes(&node->type));
    else if (node->op == OP_param)
        param_init(node, seed, (uint32_t)i, data);
    else
        return fail(err, FRAX_USAGE, "frax_initial_param: %s is a tangent, which has no initial value",
                    node->attrs->name);
    return FRAX_OK;
}

/* Dense first, then element by element. */
static FraxStatus write_strided_initial(const FraxExecutable *exe, size_t i, uint64_t seed, void *data,
                                        FraxError *err) {
    const Type *type = signature_type(exe, FRAX_PARAM, i);
    int64_t to[MAX_RANK], from[MAX_RANK];
    void *dense = mem_aligned(type_bytes(type));
    if (!dense) return fail_memory(err, "an initial value");
    FraxStatus status = write_initial(exe, i, seed, dense, err);
    strides_bytes(type, compiled_strides(exe, FRAX_PARAM, i), to);
    strides_bytes(type, NULL, from);
    if (!status) strides_copy(type, data, to, dense, from);
    mem_free(dense);
    return status;
}

FraxStatus frax_initial_param(const FraxExecutable *exe, size_t i, uint64_t seed, void *data,
                              FraxError *err) {
    if (!handle_is(exe, HANDLE_EXECUTABLE)) return handle_fail(exe, "frax_initial_param", "exe", err);
    if (!data) return fail(err, FRAX_USAGE, "frax_initial_param: data is NULL");
    if (i >= exe->counts[FRAX_PARAM])
        return fail(err, FRAX_USAGE, "frax_initial_param: there is no param %zu; the executable has %zu", i,
                    exe->counts[FRAX_PARAM]);
    return (compiled_strides(exe, FRAX_PARAM, i) ? write_strided_initial : write_initial)(exe, i, seed, data,
                                                                                          err);
}
