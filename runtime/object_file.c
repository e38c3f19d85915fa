/* object_file.c — see object_file.h.
 *
 * Tables are computed here and now, by code for this machine that arranges them as the target's vectors want
 * them: filters lie in an order that depends on the width of vectors.
 */
#include "object_file.h"
#include "cpu_executable.h"
#include "jit.h"
#include "object.h"
#include "passes.h"
#include <llvm-c/BitReader.h>
#include <llvm-c/BitWriter.h>
#include <string.h>

enum { LEVELS = 3 };
static const int level_numbers[LEVELS] = {2, 3, 4};
static const char *const level_names[LEVELS] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};

/* This machine, with vectors of other bytes: the code generator cuts longer ones up, and library functions on
   vectors are left out where this machine may not have them. */
static FraxStatus stand_in_target(int vector_bytes, HostTarget *target, FraxError *err) {
    FraxStatus status = host_target(target, err);
    if (status || target->vector_bytes == vector_bytes) return status;
    if (vector_bytes > target->vector_bytes) target->vector_isa = 0;
    target->vector_bytes = vector_bytes;
    return FRAX_OK;
}

static FraxStatus make_tables(const Graph *graph, int vector_bytes, CpuExecutable **exe, FraxError *err) {
    HostTarget target;
    FraxStatus status = stand_in_target(vector_bytes, &target, err);
    if (status) return status;
    ExecutableOptions options = {.threads = 1, .self_contained = true, .host = &target};
    status = cpu_executable_create(graph, &options, exe, NULL, err);
    host_target_free(&target);
    return status;
}

static bool checks_tables(const Graph *g) {
    for (size_t i = 0; i < g->nchecks; i++)
        if (graph_node(g, graph_checked(g, i))->region == REGION_STATIC) return true;
    return false;
}

/* A module for one target, with its entry. */
static FraxStatus make_module(const Graph *graph, const HostTarget *target, const ObjectOptions *options,
                              const char *run, const char *workspace_bytes, size_t *run_bytes,
                              LLVMContextRef *context, LLVMModuleRef *module, FraxError *err) {
    Program p;
    CpuExecutable *exe = NULL;
    FraxStatus status = program_create(graph, &p, err);
    if (!status) status = program_emit(&p, target, context, module, err);
    if (status) {
        program_destroy(&p);
        return status;
    }
    if (p.static_bytes || checks_tables(graph)) status = make_tables(graph, target->vector_bytes, &exe, err);
    *run_bytes = MAX(*run_bytes, program_scratch_offset(&p) + program_scratch_bytes(&p, options->threads));
    ObjectEntry entry = {.run = run,
                         .workspace_bytes = workspace_bytes,
                         .order = options->order,
                         .statics = exe ? cpu_executable_tables(exe) : NULL,
                         .threads = options->threads,
                         .run_bytes = *run_bytes};
    if (!status) status = object_emit_entry(*context, *module, &p, &entry, err);
    cpu_executable_destroy(exe);
    program_destroy(&p);
    if (!status) return FRAX_OK;
    LLVMDisposeModule(*module);
    LLVMContextDispose(*context);
    return status;
}

/* One module for all levels. The workspace serves each of them, so that its size is known last. */
static FraxStatus make_levels(const Graph *graph, const ObjectOptions *options, const char *run,
                              const char *workspace_bytes, size_t *run_bytes, LLVMContextRef *context,
                              LLVMModuleRef *module, FraxError *err) {
    HostTarget targets[LEVELS] = {{0}};
    LLVMContextRef contexts[LEVELS] = {NULL};
    LLVMModuleRef modules[LEVELS] = {NULL};
    char name[160];
    FraxStatus status = FRAX_OK;
    int done = 0;
    for (; done < LEVELS && !status; done++) {
        snprintf(name, sizeof name, "%s_v%d", run, level_numbers[done]);
        status = named_target(level_names[done], &targets[done], err);
        if (!status)
            status =
                make_module(graph, &targets[done], options, name, done == LEVELS - 1 ? workspace_bytes : NULL,
                            run_bytes, &contexts[done], &modules[done], err);
    }
    if (!status)
        status =
            object_merge_levels(contexts, modules, targets, level_numbers, LEVELS, run, context, module, err);
    else
        for (int i = 0; i < done - 1; i++) {
            LLVMDisposeModule(modules[i]);
            LLVMContextDispose(contexts[i]);
        }
    for (int i = 0; i < LEVELS; i++) host_target_free(&targets[i]);
    return status;
}

/* Forms but the last one get a copy: generating code takes a module over. */
static FraxStatus write_forms(LLVMContextRef context, LLVMModuleRef module, const HostTarget *target,
                              const ObjectOptions *options, ObjectCode *code, FraxError *err) {
    FraxStatus status = FRAX_OK;
    LLVMMemoryBufferRef bits = LLVMWriteBitcodeToMemoryBuffer(module);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    for (int form = 0; form < OBJECT_FORMS && !status; form++) {
        if (!options->wanted[form]) continue;
        LLVMContextRef own = LLVMContextCreate();
        LLVMModuleRef copy = NULL;
        if (LLVMParseBitcodeInContext2(own, bits, &copy)) {
            LLVMContextDispose(own);
            status = fail_memory(err, "generating code");
        } else if (form == OBJECT_LLVM) {
            Text text = {0};
            status = module_text(own, copy, target, &text, err);
            code->data[form] = text.data;
            code->bytes[form] = text.len;
        } else {
            status = compile_module(own, copy, target, form == OBJECT_ASSEMBLY, &code->data[form],
                                    &code->bytes[form], err);
        }
    }
    LLVMDisposeMemoryBuffer(bits);
    return status;
}

static FraxStatus create(Graph *graph, const ObjectOptions *options, ObjectCode *code, FraxError *err) {
    HostTarget target;
    LLVMContextRef context;
    LLVMModuleRef module;
    char run[144], workspace_bytes[160];
    snprintf(run, sizeof run, "%s_run", options->prefix);
    snprintf(workspace_bytes, sizeof workspace_bytes, "%s_workspace_bytes", options->prefix);
    FraxStatus status = named_target(options->multi_version ? level_names[0] : options->cpu, &target, err);
    if (status) return status;
    snprintf(code->triple, sizeof code->triple, "%s", target.triple);
    snprintf(code->cpu, sizeof code->cpu, "%s",
             options->multi_version ? "x86-64-v2, x86-64-v3 and x86-64-v4" : target.cpu);
    if (options->multi_version)
        status =
            make_levels(graph, options, run, workspace_bytes, &code->workspace_bytes, &context, &module, err);
    else
        status = make_module(graph, &target, options, run, workspace_bytes, &code->workspace_bytes, &context,
                             &module, err);
    if (!status) {
        for (size_t i = 0; i < options->nconstants; i++) {
            const ObjectConstant *c = &options->constants[i];
            object_emit_constant(context, module, c->name, c->data, c->bytes);
        }
        status = object_add_support(module, &target, err);
        if (!status) {
            status = write_forms(context, module, &target, options, code, err);
        } else {
            LLVMDisposeModule(module);
            LLVMContextDispose(context);
        }
    }
    host_target_free(&target);
    return status;
}

FraxStatus object_create(Graph *graph, const ObjectOptions *options, ObjectCode *code, FraxError *err) {
    *code = (ObjectCode){.graph = graph};
    graph->self_contained = true;
    FraxStatus status = run_passes(&code->graph, NULL, err);
    if (!status) status = create(code->graph, options, code, err);
    if (status) object_free(code);
    return status;
}

void object_free(ObjectCode *code) {
    for (int form = 0; form < OBJECT_FORMS; form++) mem_free(code->data[form]);
    graph_destroy(code->graph);
    *code = (ObjectCode){0};
}
