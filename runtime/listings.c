/* listings.c — see listings.h. */
#include "listings.h"
#include "jit.h"
#include "program.h"
#include <omp.h>

static FraxStatus list_code(Program *p, Listing listing, Text *out, FraxError *err) {
    HostTarget host;
    LLVMContextRef context;
    LLVMModuleRef module;
    char *text = NULL;
    size_t size = 0;
    FraxStatus status = host_target(&host, err);
    if (status) return status;
    status = program_emit(p, &host, &context, &module, err);
    if (!status && listing == LISTING_LLVM) status = module_text(context, module, &host, out, err);
    if (!status && listing == LISTING_ASM) {
        status = compile_module(context, module, &host, true, &text, &size, err);
        if (!status) text_append(out, text, size);
    }
    mem_free(text);
    host_target_free(&host);
    return status;
}

/* Emission says how much scratch each thread needs. */
static FraxStatus list_memory(Program *p, int threads, Text *out, FraxError *err) {
    HostTarget host;
    LLVMContextRef context;
    LLVMModuleRef module;
    FraxStatus status = host_target(&host, err);
    if (status) return status;
    status = program_emit(p, &host, &context, &module, err);
    host_target_free(&host);
    if (status) return status;
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    size_t scratch = program_scratch_bytes(p, threads);
    text_printf(out,
                "with this machine's threads: %zu bytes temporary, of which %zu live at once, %zu static\n",
                program_scratch_offset(p) + scratch, p->live_bytes + scratch, p->static_bytes);
    return FRAX_OK;
}

FraxStatus list_program(const Graph *graph, Listing listing, int threads, Text *out, FraxError *err) {
    Program p;
    FraxStatus status = program_create(graph, &p, err);
    if (!status && listing == LISTING_KERNELS) {
        for (int i = 0; i < p.nkernels; i++) kernel_print(graph, &p.kernels[i].kernel, out);
        text_printf(out,
                    "temporary %zu bytes (largest live set %zu), tables %zu bytes, moved %zu bytes a run\n",
                    p.arena_bytes + p.workspace_bytes, p.live_bytes, p.static_bytes, p.moved_bytes);
        if (!graph->gpu) status = list_memory(&p, threads > 0 ? threads : omp_get_max_threads(), out, err);
    } else if (!status) {
        status = list_code(&p, listing, out, err);
    }
    program_destroy(&p);
    if (!status && out->failed) status = fail_memory(err, "listing");
    return status;
}
