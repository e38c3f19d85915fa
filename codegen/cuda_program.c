/* cuda_program.c — see cuda_program.h. */
#include "cuda_program.h"

FraxStatus cuda_program_create(const Graph *graph, const Watch *watch, CudaProgram *out, FraxError *err) {
    (void)watch;
    *out = (CudaProgram){0};
    return fail(err, FRAX_UNSUPPORTED, "%s: this build emits no CUDA code", graph->name);
}

void cuda_program_destroy(CudaProgram *p) {
    program_destroy(&p->program);
    text_free(&p->source);
    mem_free(p->launches);
    *p = (CudaProgram){0};
}
