/* cli_show.c — the verb show: the graph as lowered or after a pass, its kernels, LLVM IR, machine code, or a
 * drawing. */
#include "cli.h"
#include "api.h"
#include "cuda_library.h"
#include "cuda_program.h"
#include "executable.h"
#include "listings.h"
#include "passes.h"
#include <string.h>

static void dot_node(const Graph *g, Value v, Text *out) {
    const Node *node = graph_node(g, v);
    char type[176];
    const char *name = op_table[node->op].attrs & A_NAME ? node->attrs->name : op_table[node->op].name;
    text_printf(out, "  n%d [label=\"%s\\n%s\"%s];\n", v, name, type_text(&node->type, type),
                node->nargs ? "" : ", style=filled, fillcolor=\"#e8eef7\"");
    for (int i = 0; i < node->nargs; i++) text_printf(out, "  n%d -> n%d;\n", node->args[i], v);
}

static FraxStatus print_dot(const Graph *g, Text *out, FraxError *err) {
    bool *live = mem_alloc(MAX(g->count, 1) * sizeof *live);
    if (!live) return fail_memory(err, "the drawing");
    graph_live(g, live);
    text_printf(out, "digraph \"%s\" {\n  node [shape=box, fontname=\"sans-serif\"];\n", g->name);
    for (size_t v = 0; v < g->count; v++)
        if (live[v]) dot_node(g, (Value)v, out);
    for (size_t i = 0; i < g->noutputs; i++) {
        text_printf(out, "  o%zu [label=\"%s\", shape=ellipse];\n", i, g->outputs[i].name);
        text_printf(out, "  n%d -> o%zu;\n", g->outputs[i].value, i);
    }
    text_printf(out, "}\n");
    mem_free(live);
    return FRAX_OK;
}

static FraxStatus find_pass(const char *name, FraxError *err) {
    const char *names[64];
    size_t index, n = MIN(pass_count, COUNT(names));
    for (size_t i = 0; i < n; i++) names[i] = pass_table[i].name;
    return cli_choose("pass", name, names, n, &index, err);
}

static FraxStatus print_listing(const Session *s, Graph **g, Listing listing, FraxError *err) {
    Text *out = (Text *)&s->cli->text;
    FraxStatus status = run_passes(g, NULL, err);
    if (!status) status = list_program(*g, listing, s->options.threads, out, err);
    return status;
}

/* The graph is for a GPU, and for the libraries found here. */
static void take_for_gpu(Graph *g) {
    g->gpu = g->self_contained = true;
    g->gpu_libraries = cuda_graph_libraries();
}

static FraxStatus print_cuda(Graph **g, Text *out, FraxError *err) {
    CudaProgram program = {0};
    FraxStatus status = run_passes(g, NULL, err);
    if (!status) status = cuda_program_create(*g, NULL, &program, err);
    if (!status) text_append(out, program.source.data, program.source.len);
    if (!status) cuda_program_destroy(&program);
    return status;
}

/* The text form, then what was decided by itself, as comments. */
static void print_graph(Graph *g, Text *out) {
    note_engines(g);
    graph_print(g, out);
    graph_print_notes(g, out);
}

/* --cuda is of target cuda, --llvm and --asm of target cpu. */
static FraxStatus choose_target(Session *s, const Cli *cli, FraxError *err) {
    FraxTarget target = s->options.target;
    if (target != FRAX_CPU && target != FRAX_CUDA)
        return fail(err, FRAX_USAGE, "show --target %s: there is code for cpu and cuda", cli->target);
    if (target == FRAX_CUDA && (cli->llvm || cli->asm_))
        return fail(err, FRAX_USAGE, "--llvm and --asm show code for the CPU; --cuda is what a GPU is given");
    if (cli->target && target == FRAX_CPU && cli->cuda)
        return fail(err, FRAX_USAGE, "--cuda shows what a GPU is given, not --target cpu");
    if (cli->cuda) s->options.target = FRAX_CUDA;
    return FRAX_OK;
}

static FraxStatus show(Session *s, Cli *cli, FraxError *err) {
    Graph *g = NULL;
    FraxStatus status = model_graph(s->model, &s->options, &g, NULL, err);
    if (status) return status;
    if (s->options.target == FRAX_CUDA) take_for_gpu(g);
    if (cli->after) {
        status = run_passes(&g, cli->after, err);
        if (!status) print_graph(g, &cli->text);
    } else if (cli->kernels) {
        status = print_listing(s, &g, LISTING_KERNELS, err);
    } else if (cli->llvm) {
        status = print_listing(s, &g, LISTING_LLVM, err);
    } else if (cli->asm_) {
        status = print_listing(s, &g, LISTING_ASM, err);
    } else if (cli->cuda) {
        status = print_cuda(&g, &cli->text, err);
    } else if (cli->dot) {
        status = print_dot(g, &cli->text, err);
    } else {
        print_graph(g, &cli->text);
    }
    graph_destroy(g);
    return status;
}

FraxStatus cli_show(Cli *cli, FraxError *err) {
    Session s;
    if ((cli->after != NULL) + cli->kernels + cli->llvm + cli->asm_ + cli->cuda + cli->dot > 1)
        return fail(err, FRAX_USAGE,
                    "--after, --kernels, --llvm, --asm, --cuda and --dot exclude each other");
    if (!cli->grad && (cli->of || cli->wrt)) return fail(err, FRAX_USAGE, "--of and --wrt need --grad");
    FraxStatus status = cli->after ? find_pass(cli->after, err) : FRAX_OK;
    if (status) return status;
    status = session_open(&s, cli, err);
    s.options.mode = cli->grad ? FRAX_REVERSE : FRAX_FORWARD;
    if (!status) status = choose_target(&s, cli, err);
    if (!status) status = show(&s, cli, err);
    session_close(&s);
    return status;
}
