/* object.c — the entry of an object: see object.h. */
#include "object.h"
#include "llvm_half.h"
#include "object_support.h"
#include <llvm-c/Analysis.h>
#include <llvm-c/BitReader.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Linker.h>
#include <math.h>
#include <string.h>

/* Emission of one entry. */
typedef struct Entry {
    const ObjectEntry *spec;
    const Program *program;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMValueRef function, statics;
    LLVMValueRef args, outs, workspace; /* parameters; args in the order of the graph's inputs */
    LLVMTypeRef pointer, i64, i32, i8;
} Entry;

static LLVMValueRef number(Entry *e, int64_t value) {
    return LLVMConstInt(e->i64, (unsigned long long)value, 1);
}

static LLVMValueRef status_code(Entry *e, int code) {
    return LLVMConstInt(e->i32, (unsigned)code, 0);
}

static LLVMBasicBlockRef block(Entry *e) {
    return LLVMAppendBasicBlockInContext(e->context, e->function, "");
}

static void go_on_at(Entry *e, LLVMBasicBlockRef next) {
    LLVMPositionBuilderAtEnd(e->b, next);
}

/* Returns `code` from the entry if `condition` holds. */
static void return_if(Entry *e, LLVMValueRef condition, int code) {
    LLVMBasicBlockRef wrong = block(e), next = block(e);
    LLVMBuildCondBr(e->b, condition, wrong, next);
    go_on_at(e, wrong);
    LLVMBuildRet(e->b, status_code(e, code));
    go_on_at(e, next);
}

static LLVMValueRef at_bytes(Entry *e, LLVMValueRef base, int64_t bytes) {
    LLVMValueRef index = number(e, bytes);
    return bytes ? LLVMBuildGEP2(e->b, e->i8, base, &index, 1, "") : base;
}

static LLVMValueRef pointer_at(Entry *e, LLVMValueRef list, size_t i) {
    return LLVMBuildLoad2(e->b, e->pointer, at_bytes(e, list, (int64_t)(i * sizeof(void *))), "");
}

static LLVMValueRef declare(Entry *e, const char *name, LLVMTypeRef result, LLVMTypeRef *types, unsigned n,
                            LLVMTypeRef *signature) {
    LLVMValueRef f = LLVMGetNamedFunction(e->module, name);
    *signature = LLVMFunctionType(result, types, n, 0);
    return f ? f : LLVMAddFunction(e->module, name, *signature);
}

/* ---- Buffers: none is NULL, each is aligned ---- */

static void check_pointer(Entry *e, LLVMValueRef p, size_t alignment) {
    return_if(e, LLVMBuildIsNull(e->b, p, ""), OBJECT_NULL);
    if (alignment < 2) return;
    LLVMValueRef low =
        LLVMBuildAnd(e->b, LLVMBuildPtrToInt(e->b, p, e->i64, ""), number(e, (int64_t)alignment - 1), "");
    return_if(e, LLVMBuildICmp(e->b, LLVMIntNE, low, number(e, 0), ""), OBJECT_MISALIGNED);
}

static void check_buffer(Entry *e, LLVMValueRef list, size_t place, const Type *type) {
    if (type_bytes(type)) check_pointer(e, pointer_at(e, list, place), frax_dtype_size(type->dtype));
}

static void check_buffers(Entry *e) {
    const Graph *g = e->program->graph;
    if (g->ninputs) return_if(e, LLVMBuildIsNull(e->b, e->args, ""), OBJECT_NULL);
    if (g->noutputs) return_if(e, LLVMBuildIsNull(e->b, e->outs, ""), OBJECT_NULL);
    if (e->spec->run_bytes) check_pointer(e, e->workspace, 64);
    for (size_t i = 0; i < g->ninputs; i++)
        check_buffer(e, e->args, e->spec->order[i], graph_type(g, g->inputs[i]));
    for (size_t i = 0; i < g->noutputs; i++) check_buffer(e, e->outs, i, graph_type(g, g->outputs[i].value));
}

/* The inputs in the graph's order. */
static void order_inputs(Entry *e) {
    size_t n = e->program->graph->ninputs;
    bool ordered = true;
    for (size_t i = 0; i < n; i++) ordered = ordered && e->spec->order[i] == i;
    if (ordered) return;
    LLVMValueRef list = LLVMBuildArrayAlloca(e->b, e->pointer, number(e, (int64_t)n), "");
    for (size_t i = 0; i < n; i++)
        LLVMBuildStore(e->b, pointer_at(e, e->args, e->spec->order[i]),
                       at_bytes(e, list, (int64_t)(i * sizeof(void *))));
    e->args = list;
}

static LLVMValueRef value_address(Entry *e, Value v) {
    const Node *node = graph_node(e->program->graph, v);
    switch (node->region) {
    case REGION_INPUT: return pointer_at(e, e->args, (size_t)node->offset);
    case REGION_OUTPUT: return pointer_at(e, e->outs, (size_t)node->offset);
    case REGION_STATIC: return at_bytes(e, e->statics, node->offset);
    default: return at_bytes(e, e->workspace, node->offset);
    }
}

/* ---- Guarded values ---- */

static LLVMTypeRef element_type(Entry *e, FraxDType dtype) {
    switch (dtype) {
    case FRAX_F64: return LLVMDoubleTypeInContext(e->context);
    case FRAX_F32: return LLVMFloatTypeInContext(e->context);
    case FRAX_BF16:
    case FRAX_F16: return LLVMInt16TypeInContext(e->context);
    case FRAX_I32: return e->i32;
    default: return e->i8;
    }
}

/* Element i as f64. */
static LLVMValueRef element(Entry *e, LLVMValueRef base, FraxDType dtype, LLVMValueRef i) {
    LLVMTypeRef type = element_type(e, dtype), f64 = LLVMDoubleTypeInContext(e->context);
    LLVMValueRef v = LLVMBuildLoad2(e->b, type, LLVMBuildGEP2(e->b, type, base, &i, 1, ""), "");
    if (dtype == FRAX_I32) return LLVMBuildSIToFP(e->b, v, f64, "");
    if (dtype == FRAX_BOOL) return LLVMBuildUIToFP(e->b, v, f64, "");
    if (dtype == FRAX_BF16) v = llvm_from_bf16(e->b, v);
    if (dtype == FRAX_F16) v = llvm_from_f16(e->b, v);
    return dtype == FRAX_F64 ? v : LLVMBuildFPExt(e->b, v, f64, "");
}

/* Every element lies in the guard's range; a NaN lies in none. */
static void check_value(Entry *e, size_t check) {
    const Graph *g = e->program->graph;
    const Attrs *at = graph_node(g, g->checks[check])->attrs;
    Value v = graph_checked(g, check);
    const Type *type = graph_type(g, v);
    LLVMTypeRef f64 = LLVMDoubleTypeInContext(e->context);
    LLVMValueRef base = value_address(e, v);
    if (!shape_size(&type->shape)) return;
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), loop = block(e), next = block(e), wrong = block(e),
                      done = block(e);
    LLVMBuildBr(e->b, loop);
    go_on_at(e, loop);
    LLVMValueRef i = LLVMBuildPhi(e->b, e->i64, ""), x = element(e, base, type->dtype, i);
    LLVMValueRef inside =
        LLVMBuildAnd(e->b, LLVMBuildFCmp(e->b, LLVMRealOGE, x, LLVMConstReal(f64, at->value), ""),
                     LLVMBuildFCmp(e->b, LLVMRealOLE, x, LLVMConstReal(f64, at->value2), ""), "");
    LLVMBuildCondBr(e->b, inside, next, wrong);
    go_on_at(e, wrong);
    LLVMBuildRet(e->b, status_code(e, OBJECT_FIRST_CHECK + (int)check));
    go_on_at(e, next);
    LLVMValueRef more = LLVMBuildAdd(e->b, i, number(e, 1), "");
    LLVMAddIncoming(i, (LLVMValueRef[]){number(e, 0), more}, (LLVMBasicBlockRef[]){before, next}, 2);
    LLVMValueRef again = LLVMBuildICmp(e->b, LLVMIntSLT, more, number(e, shape_size(&type->shape)), "");
    LLVMBuildCondBr(e->b, again, loop, done);
    go_on_at(e, done);
}

/* Values of the caller before the kernels, those of the kernels after them; tables were judged when they were
 * made. */
static void check_values(Entry *e, bool of_inputs) {
    const Graph *g = e->program->graph;
    for (size_t i = 0; i < g->nchecks; i++) {
        Region region = (Region)graph_node(g, graph_checked(g, i))->region;
        if (region != REGION_STATIC && (region == REGION_INPUT) == of_inputs) check_value(e, i);
    }
}

/* ---- Kernels ---- */

static LLVMTypeRef context_type(Entry *e) {
    LLVMTypeRef fields[6] = {e->pointer, e->pointer, e->pointer, e->pointer, e->pointer, e->pointer};
    _Static_assert(sizeof(KernelContext) == 6 * sizeof(void *), "the fields of KernelContext are pointers");
    return LLVMStructTypeInContext(e->context, fields, 6, 0);
}

static LLVMValueRef make_context(Entry *e) {
    LLVMValueRef context = LLVMBuildAlloca(e->b, context_type(e), "");
    LLVMValueRef workspace = at_bytes(e, e->workspace, (int64_t)e->program->arena_bytes);
    LLVMValueRef none = LLVMConstNull(e->pointer);
    const struct {
        size_t offset;
        LLVMValueRef value;
    } fields[] = {
        {offsetof(KernelContext, arena), e->workspace},  {offsetof(KernelContext, statics), e->statics},
        {offsetof(KernelContext, workspace), workspace}, {offsetof(KernelContext, inputs), e->args},
        {offsetof(KernelContext, outputs), e->outs},     {offsetof(KernelContext, plans), none}};
    for (size_t i = 0; i < COUNT(fields); i++)
        LLVMBuildStore(e->b, fields[i].value, at_bytes(e, context, (int64_t)fields[i].offset));
    return context;
}

static LLVMTypeRef kernel_type(Entry *e) {
    LLVMTypeRef types[4] = {e->pointer, e->pointer, e->i64, e->i64};
    return LLVMFunctionType(LLVMVoidTypeInContext(e->context), types, 4, 0);
}

static void call_kernel(Entry *e, int kernel, const char *suffix, LLVMValueRef context, LLVMValueRef scratch,
                        LLVMValueRef begin, LLVMValueRef end) {
    char name[48];
    snprintf(name, sizeof name, "frax_k%d%s", kernel, suffix);
    LLVMValueRef args[4] = {context, scratch, begin, end}, f = LLVMGetNamedFunction(e->module, name);
    LLVMBuildCall2(e->b, kernel_type(e), f, args, 4, "");
}

/* What a team of threads is given: the context, and the scratch of the first of them. */
enum { TEAM_CONTEXT = 0, TEAM_SCRATCH = 8, TEAM_BYTES = 16 };

/* void frax_kN_team(data): this thread's share of the blocks. */
static LLVMValueRef team_function(Entry *e, int kernel) {
    const ProgramKernel *pk = &e->program->kernels[kernel];
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(e->context), &e->pointer, 1, 0), signature;
    LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
    char name[48];
    snprintf(name, sizeof name, "frax_k%d_team", kernel);
    LLVMValueRef f = LLVMAddFunction(e->module, name, type), data = LLVMGetParam(f, 0);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, ""));
    LLVMValueRef thread = declare(e, "omp_get_thread_num", e->i32, NULL, 0, &signature);
    LLVMValueRef threads = declare(e, "omp_get_num_threads", e->i32, NULL, 0, &signature);
    LLVMValueRef id = LLVMBuildSExt(e->b, LLVMBuildCall2(e->b, signature, thread, NULL, 0, ""), e->i64, "");
    LLVMValueRef n = LLVMBuildSExt(e->b, LLVMBuildCall2(e->b, signature, threads, NULL, 0, ""), e->i64, "");
    LLVMValueRef blocks = number(e, pk->kernel.blocks), share[2];
    for (int i = 0; i < 2; i++) {
        LLVMValueRef which = i ? LLVMBuildAdd(e->b, id, number(e, 1), "") : id;
        share[i] = LLVMBuildSDiv(e->b, LLVMBuildMul(e->b, blocks, which, ""), n, "");
    }
    LLVMValueRef own = LLVMBuildMul(e->b, id, number(e, (int64_t)pk->scratch), "");
    LLVMValueRef scratch = LLVMBuildLoad2(e->b, e->pointer, at_bytes(e, data, TEAM_SCRATCH), "");
    scratch = LLVMBuildGEP2(e->b, e->i8, scratch, &own, 1, "");
    call_kernel(e, kernel, "", LLVMBuildLoad2(e->b, e->pointer, at_bytes(e, data, TEAM_CONTEXT), ""), scratch,
                share[0], share[1]);
    LLVMBuildRetVoid(e->b);
    go_on_at(e, back);
    return f;
}

/* By libgomp's own entry, which GCC's and LLVM's OpenMP runtimes both have. */
static void call_team(Entry *e, int kernel, int workers, LLVMValueRef context, LLVMValueRef scratch) {
    LLVMTypeRef types[4] = {e->pointer, e->pointer, e->i32, e->i32}, signature;
    LLVMValueRef data = LLVMBuildArrayAlloca(e->b, e->i8, number(e, TEAM_BYTES), "");
    LLVMSetAlignment(data, 8);
    LLVMBuildStore(e->b, context, at_bytes(e, data, TEAM_CONTEXT));
    LLVMBuildStore(e->b, scratch, at_bytes(e, data, TEAM_SCRATCH));
    LLVMValueRef parallel =
        declare(e, "GOMP_parallel", LLVMVoidTypeInContext(e->context), types, 4, &signature);
    LLVMValueRef args[4] = {team_function(e, kernel), data, status_code(e, workers), status_code(e, 0)};
    LLVMBuildCall2(e->b, signature, parallel, args, 4, "");
}

static void call_kernels(Entry *e, LLVMValueRef context) {
    const Program *p = e->program;
    LLVMValueRef scratch = at_bytes(e, e->workspace, (int64_t)program_scratch_offset(p));
    for (int i = 0; i < p->nkernels; i++) {
        const ProgramKernel *pk = &p->kernels[i];
        if (pk->kernel.is_static || !pk->kernel.blocks) continue;
        int workers = (int)program_workers(pk, e->spec->threads);
        if (workers > 1)
            call_team(e, i, workers, context, scratch);
        else
            call_kernel(e, i, "", context, scratch, number(e, 0), number(e, pk->kernel.blocks));
        if (pk->kernel.workspace)
            call_kernel(e, i, "_finish", context, scratch, number(e, 0),
                        number(e, kernel_finish_blocks(&pk->kernel)));
    }
}

/* Outputs that no kernel writes in place. */
static void copy_outputs(Entry *e) {
    const Graph *g = e->program->graph;
    for (size_t i = 0; i < g->noutputs; i++) {
        const Node *node = graph_node(g, g->outputs[i].value);
        size_t bytes = type_bytes(&node->type);
        if ((node->region == REGION_OUTPUT && node->offset == (int64_t)i) || !bytes) continue;
        LLVMBuildMemMove(e->b, pointer_at(e, e->outs, i), 1, value_address(e, g->outputs[i].value), 1,
                         number(e, (int64_t)bytes));
    }
}

/* ---- The module ---- */

/* Nothing but the entry is seen from outside, and filters that were prepared when the tables were made need
 * no code. */
static void hide_functions(Entry *e) {
    for (LLVMValueRef f = LLVMGetFirstFunction(e->module), next; f; f = next) {
        const char *name = LLVMGetValueName(f);
        next = LLVMGetNextFunction(f);
        if (!LLVMIsDeclaration(f)) LLVMSetLinkage(f, LLVMInternalLinkage);
        if (strstr(name, "_prepare") && !LLVMGetFirstUse(f)) LLVMDeleteFunction(f);
    }
    for (int i = 0; i < e->program->nkernels; i++) {
        char name[48];
        snprintf(name, sizeof name, "frax_k%d", i);
        LLVMValueRef f = LLVMGetNamedFunction(e->module, name);
        if (f && e->program->kernels[i].kernel.is_static && !LLVMGetFirstUse(f)) LLVMDeleteFunction(f);
    }
}

static LLVMValueRef emit_bytes(LLVMContextRef context, LLVMModuleRef module, const char *name,
                               const void *data, size_t bytes) {
    LLVMValueRef value = LLVMConstStringInContext2(context, data, bytes, 1);
    LLVMValueRef global = LLVMAddGlobal(module, LLVMTypeOf(value), name);
    LLVMSetInitializer(global, value);
    LLVMSetGlobalConstant(global, 1);
    LLVMSetAlignment(global, 64);
    return global;
}

void object_emit_constant(LLVMContextRef context, LLVMModuleRef module, const char *name, const void *data,
                          size_t bytes) {
    emit_bytes(context, module, name, data, bytes);
}

static void emit_workspace_bytes(Entry *e) {
    LLVMTypeRef type = LLVMFunctionType(e->i64, NULL, 0, 0);
    LLVMValueRef f = LLVMAddFunction(e->module, e->spec->workspace_bytes, type);
    LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->context, f, ""));
    LLVMBuildRet(e->b, number(e, (int64_t)e->spec->run_bytes));
}

static LLVMTypeRef run_type(LLVMContextRef context) {
    LLVMTypeRef p = LLVMPointerTypeInContext(context, 0), types[3] = {p, p, p};
    return LLVMFunctionType(LLVMInt32TypeInContext(context), types, 3, 0);
}

static FraxStatus verified(LLVMModuleRef module, FraxError *err) {
    char *message = NULL;
    FraxStatus status = FRAX_OK;
    if (LLVMVerifyModule(module, LLVMReturnStatusAction, &message))
        status = fail(err, FRAX_INTERNAL, "generated code is malformed: %s", message);
    LLVMDisposeMessage(message);
    return status;
}

FraxStatus object_emit_entry(LLVMContextRef context, LLVMModuleRef module, const Program *program,
                             const ObjectEntry *spec, FraxError *err) {
    Entry e = {.spec = spec,
               .program = program,
               .context = context,
               .module = module,
               .b = LLVMCreateBuilderInContext(context),
               .pointer = LLVMPointerTypeInContext(context, 0),
               .i64 = LLVMInt64TypeInContext(context),
               .i32 = LLVMInt32TypeInContext(context),
               .i8 = LLVMInt8TypeInContext(context)};
    e.statics = LLVMConstNull(e.pointer);
    if (program->static_bytes) {
        e.statics = emit_bytes(context, module, "frax_tables", spec->statics, program->static_bytes);
        LLVMSetLinkage(e.statics, LLVMInternalLinkage);
    }
    e.function = LLVMAddFunction(module, spec->run, run_type(context));
    e.args = LLVMGetParam(e.function, 0);
    e.outs = LLVMGetParam(e.function, 1);
    e.workspace = LLVMGetParam(e.function, 2);
    go_on_at(&e, block(&e));
    check_buffers(&e);
    order_inputs(&e);
    check_values(&e, true);
    call_kernels(&e, make_context(&e));
    check_values(&e, false);
    copy_outputs(&e);
    LLVMBuildRet(e.b, status_code(&e, OBJECT_OK));
    hide_functions(&e);
    LLVMSetLinkage(e.function, LLVMExternalLinkage);
    if (spec->workspace_bytes) emit_workspace_bytes(&e);
    LLVMDisposeBuilder(e.b);
    return verified(module, err);
}

/* ---- Several levels of one architecture ---- */

static void set_attribute(LLVMContextRef context, LLVMValueRef f, const char *key, const char *value) {
    LLVMAddAttributeAtIndex(
        f, LLVMAttributeFunctionIndex,
        LLVMCreateStringAttribute(context, key, (unsigned)strlen(key), value, (unsigned)strlen(value)));
}

/* Moves a module to another context; it is taken over, with its own. */
static LLVMModuleRef move_module(LLVMContextRef *from, LLVMModuleRef *module, LLVMContextRef to) {
    LLVMMemoryBufferRef bits = LLVMWriteBitcodeToMemoryBuffer(*module);
    LLVMModuleRef moved = NULL;
    LLVMDisposeModule(*module);
    LLVMContextDispose(*from);
    *module = NULL;
    *from = NULL;
    if (LLVMParseBitcodeInContext2(to, bits, &moved)) moved = NULL;
    LLVMDisposeMemoryBuffer(bits);
    return moved;
}

/* ptr run_choose(void): asks the processor once, when the object is loaded. */
static void emit_choice(LLVMContextRef context, LLVMModuleRef module, const char *run, const int *levels,
                        int count) {
    LLVMTypeRef pointer = LLVMPointerTypeInContext(context, 0), i32 = LLVMInt32TypeInContext(context);
    LLVMTypeRef asks = LLVMFunctionType(i32, NULL, 0, 0), chooses = LLVMFunctionType(pointer, NULL, 0, 0);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(context);
    LLVMValueRef ask = LLVMAddFunction(module, "frax_kernel_cpu_level", asks), best = NULL;
    LLVMValueRef choose = LLVMAddFunction(module, "frax_choose", chooses);
    LLVMSetLinkage(choose, LLVMInternalLinkage);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(context, choose, ""));
    LLVMValueRef level = LLVMBuildCall2(b, asks, ask, NULL, 0, "");
    for (int i = 0; i < count; i++) {
        char name[160];
        snprintf(name, sizeof name, "%s_v%d", run, levels[i]);
        LLVMValueRef f = LLVMGetNamedFunction(module, name);
        LLVMSetLinkage(f, LLVMInternalLinkage);
        LLVMValueRef has = LLVMBuildICmp(b, LLVMIntSGE, level, LLVMConstInt(i32, (unsigned)levels[i], 0), "");
        best = best ? LLVMBuildSelect(b, has, f, best, "") : f;
    }
    LLVMBuildRet(b, best);
    LLVMDisposeBuilder(b);
    LLVMAddGlobalIFunc(module, run, strlen(run), run_type(context), 0, choose);
}

FraxStatus object_merge_levels(LLVMContextRef *contexts, LLVMModuleRef *modules, const HostTarget *targets,
                               const int *levels, int count, const char *run, LLVMContextRef *context,
                               LLVMModuleRef *module, FraxError *err) {
    *context = LLVMContextCreate();
    *module = LLVMModuleCreateWithNameInContext("frax", *context);
    FraxStatus status = FRAX_OK;
    for (int i = 0; i < count; i++) {
        LLVMModuleRef part = move_module(&contexts[i], &modules[i], *context);
        if (!part) {
            status = fail_memory(err, "joining code for several processors");
            continue;
        }
        for (LLVMValueRef f = LLVMGetFirstFunction(part); f; f = LLVMGetNextFunction(f)) {
            if (LLVMIsDeclaration(f)) continue;
            set_attribute(*context, f, "target-cpu", targets[i].cpu);
            set_attribute(*context, f, "target-features", targets[i].features);
        }
        if (LLVMLinkModules2(*module, part))
            status = fail(err, FRAX_INTERNAL, "joining code for several processors failed");
    }
    if (!status) emit_choice(*context, *module, run, levels, count);
    if (!status) status = verified(*module, err);
    if (!status) return FRAX_OK;
    LLVMDisposeModule(*module);
    LLVMContextDispose(*context);
    return status;
}

/* ---- What the object calls ---- */

static void append_assembly(LLVMModuleRef module, const char *text) {
    LLVMAppendModuleInlineAsm(module, text, strlen(text));
}

static bool starts_with(const char *s, const char *prefix) {
    return !strncmp(s, prefix, strlen(prefix));
}

FraxStatus object_add_support(LLVMModuleRef module, const HostTarget *target, FraxError *err) {
    bool math = false, level = false;
    for (LLVMValueRef f = LLVMGetFirstFunction(module); f; f = LLVMGetNextFunction(f)) {
        const char *name = LLVMGetValueName(f);
        if (!LLVMIsDeclaration(f) || !starts_with(name, "frax_")) continue;
        bool is_level = !strcmp(name, "frax_kernel_cpu_level");
        bool is_math = !is_level && starts_with(name, "frax_kernel_") && !strstr(name, "_fft_");
        if (!is_level && !is_math)
            return fail(err, FRAX_INTERNAL, "an object cannot call %s, which is frax's own", name);
        level |= is_level;
        math |= is_math;
    }
    if (math && !target_is_native(target))
        return fail(err, FRAX_UNSUPPORTED,
                    "this model needs Gamma or Mittag-Leffler functions, which objects carry for the "
                    "architecture of this machine alone: compile it on %s",
                    target->triple);
    if (math) append_assembly(module, object_math_text());
    if (level) append_assembly(module, object_level_text());
    return FRAX_OK;
}
