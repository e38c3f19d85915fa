/* cuda_launcher.c — see cuda_launcher.h. What differs between programs stands in tables and constants at the
 * top of the text, and in its function copy_outputs; the rest is the same for all.
 *
 * The device's memory is one block: tables, temporary values, partial results, scratch, pointers.
 */
#include "cuda_launcher.h"
#include "object.h"
#include <assert.h>
#include <ctype.h>
#include <math.h>

enum { ALIGNMENT = 256 };

typedef struct Places {
    size_t arena, workspace, scratch, pointers, end; /* static memory begins at 0 */
} Places;

static size_t after(size_t at, size_t bytes) {
    return (at + bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static Places places_of(const CudaProgram *p) {
    Places at = {.arena = after(0, p->program.static_bytes)};
    at.workspace = after(at.arena, p->program.arena_bytes);
    at.scratch = after(at.workspace, p->program.workspace_bytes);
    at.pointers = after(at.scratch, p->scratch_bytes);
    size_t count = p->program.graph->ninputs + p->program.graph->noutputs;
    at.end = after(at.pointers, count * sizeof(uint64_t));
    return at;
}

size_t cuda_launcher_bytes(const CudaProgram *p) {
    return places_of(p).end;
}

/* ---- What differs ---- */

static void print_sizes(const CudaProgram *p, Text *out) {
    const Graph *g = p->program.graph;
    Places at = places_of(p);
    text_printf(out,
                "enum { LAUNCHES = %zu, ARGS = %zu, OUTS = %zu, CHECKS = %zu, FIRST_CHECK = %d };\n\n"
                "/* Places in the memory of a program. */\n"
                "#define STATICS   %zuu\n#define ARENA     %zuu\n#define WORKSPACE %zuu\n"
                "#define SCRATCH   %zuu\n#define POINTERS  %zuu\n#define BYTES     %zuu\n\n",
                p->nlaunches, g->ninputs, g->noutputs, g->nchecks, OBJECT_FIRST_CHECK, (size_t)0, at.arena,
                at.workspace, at.scratch, at.pointers, at.end);
}

static void print_launches(const CudaProgram *p, Text *out) {
    text_printf(out, "/* In their order; the static ones once, the others in each run. */\n"
                     "static const struct {\n    const char *name;\n    int is_static;\n"
                     "    unsigned grid, threads, shared;\n} launches[LAUNCHES + 1] = {\n");
    for (size_t i = 0; i < p->nlaunches; i++) {
        const CudaLaunch *l = &p->launches[i];
        assert(l->kind == CUDA_KERNEL); /* the graph is one without libraries */
        text_printf(out, "    {\"%s\", %d, %u, %u, %zu},\n", l->name, l->moment == CUDA_STATIC, l->grid,
                    l->threads, l->shared);
    }
    text_printf(out, "    {NULL, 0, 0, 0, 0}};\n\n");
}

/* Bytes in the order of args and outs, with a last element so that none is empty. */
static void print_values(const Graph *g, const size_t *order, Text *out) {
    text_printf(out, "static const size_t arg_bytes[ARGS + 1] = {");
    for (size_t a = 0; a < g->ninputs; a++)
        for (size_t i = 0; i < g->ninputs; i++)
            if (order[i] == a) text_printf(out, "%zu, ", type_bytes(graph_type(g, g->inputs[i])));
    text_printf(out, "0};\nstatic const size_t out_bytes[OUTS + 1] = {");
    for (size_t i = 0; i < g->noutputs; i++)
        text_printf(out, "%zu, ", type_bytes(graph_type(g, g->outputs[i].value)));
    text_printf(out, "0};\n/* Kernels know args by other numbers. */\nstatic const int order[ARGS + 1] = {");
    for (size_t i = 0; i < g->ninputs; i++) text_printf(out, "%zu, ", order[i]);
    text_printf(out, "0};\n\n");
}

static void print_address(const Node *node, const size_t *order, Text *out) {
    switch (node->region) {
    case REGION_INPUT: text_printf(out, "args[%zu]", order[node->offset]); break;
    case REGION_OUTPUT: text_printf(out, "outs[%lld]", (long long)node->offset); break;
    case REGION_STATIC: text_printf(out, "memory + STATICS + %lldu", (long long)node->offset); break;
    default: text_printf(out, "memory + ARENA + %lldu", (long long)node->offset);
    }
}

/* Outputs that no kernel writes in place: inputs returned as they are, a value returned twice, one of the
 * arena. */
static void print_copies(const Graph *g, const size_t *order, Text *out) {
    text_printf(
        out, "/* Outputs that no kernel writes in place. */\n"
             "static CUresult copy_outputs(CUdeviceptr memory, const CUdeviceptr args[], const CUdeviceptr "
             "outs[],\n                             CUstream stream) {\n"
             "    CUresult result = CUDA_SUCCESS;\n"
             "    (void)memory, (void)args, (void)outs, (void)stream;\n");
    for (size_t i = 0; i < g->noutputs; i++) {
        const Node *node = graph_node(g, g->outputs[i].value);
        size_t bytes = type_bytes(&node->type);
        if ((node->region == REGION_OUTPUT && node->offset == (int64_t)i) || !bytes) continue;
        text_printf(out, "    if (!result && outs[%zu] != ", i); /* a state may lie where it was */
        print_address(node, order, out);
        text_printf(out, ")\n        result = cuMemcpyDtoDAsync(outs[%zu], ", i);
        print_address(node, order, out);
        text_printf(out, ", %zuu, stream);\n", bytes);
    }
    text_printf(out, "    return result;\n}\n\n");
}

/* ---- Guarded values ---- */

static const char *number_text(double v, char text[32]) {
    if (isinf(v)) return v < 0 ? "-HUGE_VAL" : "HUGE_VAL";
    return double_text(v, text);
}

static const char *moment_of(const Node *node) {
    return node->region == REGION_STATIC ? "AT_LOAD" : node->region == REGION_INPUT ? "BEFORE" : "AFTER";
}

/* The table, and the bytes of host memory that hold all values. */
static void print_checks(const Graph *g, Text *out) {
    size_t at = 0;
    text_printf(
        out, "/* Values that must lie in a range; place: in the host's memory. */\n"
             "enum { AT_LOAD, BEFORE, AFTER };\n"
             "static const struct {\n    int moment, is_f64;\n    size_t place, count;\n    double lo, hi;\n"
             "} checks[CHECKS + 1] = {\n");
    for (size_t i = 0; i < g->nchecks; i++) {
        const Node *node = graph_node(g, graph_checked(g, i));
        const Attrs *guard = graph_node(g, g->checks[i])->attrs;
        char lo[32], hi[32];
        text_printf(out, "    {%s, %d, %zu, %zu, %s, %s},\n", moment_of(node), node->type.dtype == FRAX_F64,
                    at, (size_t)shape_size(&node->type.shape), number_text(guard->value, lo),
                    number_text(guard->value2, hi));
        at += (type_bytes(&node->type) + 7) / 8 * 8;
    }
    text_printf(out, "    {0, 0, 0, 0, 0, 0}};\n#define CHECKED_BYTES %zuu\n\n", at);
}

static void print_fetch(const Graph *g, const size_t *order, Text *out) {
    text_printf(out,
                "/* Where the value of a check lies on the device. */\n"
                "static CUdeviceptr checked_value(int check, CUdeviceptr memory, const CUdeviceptr args[],\n"
                "                                 const CUdeviceptr outs[]) {\n"
                "    (void)args, (void)outs;\n    switch (check) {\n");
    for (size_t i = 0; i < g->nchecks; i++) {
        text_printf(out, "    case %zu: return ", i);
        print_address(graph_node(g, graph_checked(g, i)), order, out);
        text_printf(out, ";\n");
    }
    text_printf(out, "    default: return memory;\n    }\n}\n\n");
}

/* ---- What is the same: @ stands for the prefix, ~ for the prefix in capitals ---- */

static const char includes[] = "#include \"@.h\"\n"
                               "#include <math.h>\n"
                               "#include <stdio.h>\n"
                               "#include <stdlib.h>\n"
                               "#include <string.h>\n\n";

static const char launching[] =
    "/* The first parameter of every kernel. */\n"
    "typedef struct Context {\n"
    "    CUdeviceptr arena, statics, workspace, inputs, outputs, plans;\n"
    "} Context;\n\n"
    "struct @_program {\n"
    "    CUmodule module;\n"
    "    CUdeviceptr memory;\n"
    "    CUfunction functions[LAUNCHES + 1];\n"
    "    CUdeviceptr pointers[ARGS + OUTS + 1]; /* of the run before: to what the kernels read and write */\n"
    "    char *checked;                         /* CHECKED_BYTES of the host */\n"
    "};\n\n"
    "static int status_of(CUresult result) {\n"
    "    return result ? ~_CUDA + (int)result : ~_OK;\n"
    "}\n\n"
    "static CUresult launch(const @_program *p, int is_static, CUstream stream) {\n"
    "    Context context = {p->memory + ARENA, p->memory + STATICS, p->memory + WORKSPACE, p->memory + "
    "POINTERS,\n"
    "                       p->memory + POINTERS + ARGS * sizeof(CUdeviceptr), 0};\n"
    "    CUdeviceptr scratch = p->memory + SCRATCH;\n"
    "    void *parameters[] = {&context, &scratch};\n"
    "    CUresult result = CUDA_SUCCESS;\n"
    "    for (int i = 0; i < LAUNCHES && !result; i++)\n"
    "        if (launches[i].is_static == is_static)\n"
    "            result = cuLaunchKernel(p->functions[i], launches[i].grid, 1, 1, launches[i].threads, 1, "
    "1,\n"
    "                                    launches[i].shared, stream, parameters, NULL);\n"
    "    return result;\n"
    "}\n\n";

static const char checking[] =
    "static CUresult fetch_checked(const @_program *p, int moment, const CUdeviceptr args[], const "
    "CUdeviceptr outs[],\n"
    "                              CUstream stream) {\n"
    "    CUresult result = CUDA_SUCCESS;\n"
    "    for (int i = 0; i < CHECKS && !result; i++)\n"
    "        if (checks[i].moment == moment && checks[i].count)\n"
    "            result = cuMemcpyDtoHAsync(p->checked + checks[i].place, checked_value(i, p->memory, args, "
    "outs),\n"
    "                                       checks[i].count * (checks[i].is_f64 ? sizeof(double) : "
    "sizeof(float)),\n"
    "                                       stream);\n"
    "    return result;\n"
    "}\n\n"
    "/* The first value that is out of its range, of those judged in runs, or of the others. */\n"
    "static int judge(const @_program *p, int in_runs) {\n"
    "    for (int i = 0; i < CHECKS; i++) {\n"
    "        const char *data = p->checked + checks[i].place;\n"
    "        if ((checks[i].moment != AT_LOAD) != in_runs) continue;\n"
    "        for (size_t k = 0; k < checks[i].count; k++) {\n"
    "            double v = checks[i].is_f64 ? ((const double *)(const void *)data)[k]\n"
    "                                        : (double)((const float *)(const void *)data)[k];\n"
    "            if (!(v >= checks[i].lo && v <= checks[i].hi)) return FIRST_CHECK + i;\n"
    "        }\n"
    "    }\n"
    "    return ~_OK;\n"
    "}\n\n";

static const char loading[] =
    "/* The file's bytes and a zero, which ends PTX; NULL where there is none or no memory. */\n"
    "static char *read_file(const char *path, const char *suffix, int *status) {\n"
    "    char name[4096], *data = NULL;\n"
    "    long size;\n"
    "    if (snprintf(name, sizeof name, \"%s%s\", path, suffix) >= (int)sizeof name) return NULL;\n"
    "    FILE *file = fopen(name, \"rb\");\n"
    "    if (!file) return NULL;\n"
    "    if (!fseek(file, 0, SEEK_END) && (size = ftell(file)) > 0 && !fseek(file, 0, SEEK_SET)) {\n"
    "        data = (char *)calloc((size_t)size + 1, 1);\n"
    "        if (!data) *status = ~_MEMORY;\n"
    "        if (data && fread(data, 1, (size_t)size, file) != (size_t)size) {\n"
    "            free(data);\n"
    "            data = NULL;\n"
    "        }\n"
    "    }\n"
    "    fclose(file);\n"
    "    return data;\n"
    "}\n\n"
    "/* The first file that the driver takes. */\n"
    "static int load_module(@_program *p, const char *path) {\n"
    "    static const char *const suffixes[] = {\".fatbin\", \".sm_90.cubin\", \".sm_80.cubin\", \".ptx\"};\n"
    "    int status = ~_FILE;\n"
    "    for (int i = 0; i < 4 && status; i++) {\n"
    "        char *image = read_file(path, suffixes[i], &status);\n"
    "        if (image) status = status_of(cuModuleLoadData(&p->module, image));\n"
    "        free(image);\n"
    "    }\n"
    "    if (status) p->module = NULL;\n"
    "    return status;\n"
    "}\n\n"
    "static CUresult find_functions(@_program *p) {\n"
    "    CUresult result = CUDA_SUCCESS;\n"
    "    for (int i = 0; i < LAUNCHES && !result; i++) {\n"
    "        result = cuModuleGetFunction(&p->functions[i], p->module, launches[i].name);\n"
    "        if (!result && launches[i].shared > 32u << 10) /* with static memory it may pass 48 KB */\n"
    "            result = cuFuncSetAttribute(p->functions[i], "
    "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,\n"
    "                                        (int)launches[i].shared);\n"
    "    }\n"
    "    return result;\n"
    "}\n\n"
    "/* On a stream of its own, which it waits for. */\n"
    "static CUresult make_tables(const @_program *p) {\n"
    "    CUstream stream;\n"
    "    CUresult result = cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), waited;\n"
    "    if (result) return result;\n"
    "    result = launch(p, 1, stream);\n"
    "    if (!result) result = fetch_checked(p, AT_LOAD, NULL, NULL, stream);\n"
    "    waited = cuStreamSynchronize(stream);\n"
    "    cuStreamDestroy(stream);\n"
    "    return result ? result : waited;\n"
    "}\n\n"
    "int @_load(@_program **program, const char *path) {\n"
    "    @_program *p;\n"
    "    if (!program || !path) return ~_NULL;\n"
    "    *program = NULL;\n"
    "    p = (@_program *)calloc(1, sizeof *p);\n"
    "    if (!p) return ~_MEMORY;\n"
    "    p->checked = (char *)calloc(CHECKED_BYTES + 1, 1);\n"
    "    int status = p->checked ? load_module(p, path) : ~_MEMORY;\n"
    "    if (!status) status = status_of(find_functions(p));\n"
    "    if (!status && BYTES) status = status_of(cuMemAlloc(&p->memory, BYTES));\n"
    "    if (!status) status = status_of(make_tables(p));\n"
    "    if (!status) status = judge(p, 0);\n"
    "    if (!status)\n"
    "        *program = p;\n"
    "    else\n"
    "        @_destroy(p);\n"
    "    return status;\n"
    "}\n\n";

static const char running[] =
    "static int check(const CUdeviceptr *pointers, const size_t *bytes, int count) {\n"
    "    for (int i = 0; i < count; i++) {\n"
    "        if (!pointers[i] && bytes[i]) return ~_NULL;\n"
    "        if (pointers[i] % 16) return ~_MISALIGNED;\n"
    "    }\n"
    "    return ~_OK;\n"
    "}\n\n"
    "static CUresult refuse_capture(CUstream stream) {\n"
    "    CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;\n"
    "    CUresult result = cuStreamIsCapturing(stream, &status);\n"
    "    if (result || status == CU_STREAM_CAPTURE_STATUS_NONE) return result;\n"
    "    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;\n"
    "}\n\n"
    "/* The device's table of pointers, where it is not what the run before left. */\n"
    "static CUresult write_pointers(@_program *p, const CUdeviceptr args[], const CUdeviceptr outs[],\n"
    "                               CUstream stream) {\n"
    "    CUdeviceptr now[ARGS + OUTS + 1] = {0};\n"
    "    for (int i = 0; i < ARGS; i++) now[i] = args[order[i]];\n"
    "    for (int i = 0; i < OUTS; i++) now[ARGS + i] = outs[i];\n"
    "    if (!memcmp(now, p->pointers, sizeof now)) return CUDA_SUCCESS;\n"
    "    CUresult result = refuse_capture(stream); /* what is captured has not happened yet */\n"
    "    if (!result) result = cuMemcpyHtoDAsync(p->memory + POINTERS, now, (ARGS + OUTS) * sizeof *now, "
    "stream);\n"
    "    if (!result) memcpy(p->pointers, now, sizeof now);\n"
    "    return result;\n"
    "}\n\n"
    "static CUresult put(@_program *p, int fetch, const CUdeviceptr args[], const CUdeviceptr outs[],\n"
    "                    CUstream stream) {\n"
    "    CUresult result = fetch ? refuse_capture(stream) : CUDA_SUCCESS;\n"
    "    if (!result) result = write_pointers(p, args, outs, stream);\n"
    "    if (result) return result;\n"
    "    if (fetch) result = fetch_checked(p, BEFORE, args, outs, stream);\n"
    "    if (!result) result = launch(p, 0, stream);\n"
    "    if (!result && fetch) result = fetch_checked(p, AFTER, args, outs, stream);\n"
    "    if (!result) result = copy_outputs(p->memory, args, outs, stream);\n"
    "    if (result) memset(p->pointers, 0, sizeof p->pointers);\n"
    "    return result;\n"
    "}\n\n"
    "static int check_arrays(const @_program *p, const CUdeviceptr args[], const CUdeviceptr outs[]) {\n"
    "    if (!p || (ARGS > 0 && !args) || (OUTS > 0 && !outs)) return ~_NULL;\n"
    "    int status = check(args, arg_bytes, ARGS);\n"
    "    return status ? status : check(outs, out_bytes, OUTS);\n"
    "}\n\n"
    "int @_launch(@_program *p, const CUdeviceptr args[], const CUdeviceptr outs[], CUstream stream) {\n"
    "    int status = check_arrays(p, args, outs);\n"
    "    return status ? status : status_of(put(p, 0, args, outs, stream));\n"
    "}\n\n"
    "int @_run(@_program *p, const CUdeviceptr args[], const CUdeviceptr outs[], CUstream stream) {\n"
    "    int status = check_arrays(p, args, outs);\n"
    "    if (!status) status = status_of(put(p, CHECKS > 0, args, outs, stream));\n"
    "    if (!status && CHECKS > 0) status = status_of(cuStreamSynchronize(stream));\n"
    "    return status ? status : judge(p, 1);\n"
    "}\n\n"
    "void @_destroy(@_program *p) {\n"
    "    if (!p) return;\n"
    "    if (p->memory) cuMemFree(p->memory);\n"
    "    if (p->module) cuModuleUnload(p->module);\n"
    "    free(p->checked);\n"
    "    free(p);\n"
    "}\n";

static void with_prefix(const char *prefix, const char *text, Text *out) {
    for (; *text; text++) {
        if (*text == '@')
            text_printf(out, "%s", prefix);
        else if (*text == '~')
            for (const char *c = prefix; *c; c++) text_printf(out, "%c", toupper((unsigned char)*c));
        else
            text_append(out, text, 1);
    }
}

void cuda_launcher_text(const CudaProgram *p, const char *prefix, const size_t *order, Text *out) {
    const Graph *g = p->program.graph;
    text_printf(out, "/* %s.c — runs the kernels of model %s; see %s.h. By frax %s. */\n", prefix, g->name,
                prefix, FRAX_VERSION);
    with_prefix(prefix, includes, out);
    print_sizes(p, out);
    print_launches(p, out);
    print_values(g, order, out);
    print_copies(g, order, out);
    print_checks(g, out);
    print_fetch(g, order, out);
    with_prefix(prefix, launching, out);
    with_prefix(prefix, checking, out);
    with_prefix(prefix, loading, out);
    with_prefix(prefix, running, out);
}
