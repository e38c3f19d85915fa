/* cuda_transfer.c — what a run copies between host and device.
 *
 * Small values go through page-locked memory, laid out as on the device, so that neighbours are one copy and
 * all copies are part of the captured graph. Large ones are copied from and to the host's own arrays, which
 * the driver does in pieces through page-locked memory of its own, at the speed of the bus.
 */
#include "cuda_internal.h"
#include <string.h>

enum { ALIGNMENT = 256, STAGED_MOST = 1 << 20 };

/* ---- Plans ---- */

static bool add_transfer(Transfers *t, CudaAddress device, size_t staged, size_t bytes) {
    Transfer *last = t->count ? &t->items[t->count - 1] : NULL;
    if (last && device - last->device == staged - last->staged && device > last->device &&
        device - last->device < last->bytes + ALIGNMENT) {
        last->bytes = staged - last->staged + bytes;
        return true;
    }
    if (!mem_grow(&t->items, &t->capacity, t->count + 1, sizeof *t->items)) return false;
    t->items[t->count++] = (Transfer){device, staged, bytes};
    return true;
}

static size_t reserve(CudaExecutable *exe, size_t bytes) {
    size_t at = exe->staging_bytes;
    exe->staging_bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return at;
}

static bool plan_values(CudaExecutable *exe, CudaValuePlace *places, size_t n, Transfers *transfers) {
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        CudaValuePlace *p = &places[i];
        p->is_direct = !p->is_kept && p->bytes > STAGED_MOST;
        if (p->is_kept || p->is_direct || !p->bytes) continue;
        p->staged = reserve(exe, p->bytes);
        ok = add_transfer(transfers, p->device, p->staged, p->bytes);
    }
    return ok;
}

bool cuda_is_kept_check(const CudaExecutable *exe, const Check *check) {
    return check->moment == BEFORE && exe->inputs[graph_node(exe->graph, check->value)->offset].is_kept;
}

/* The values that the host looks at and does not have: those of kernels, and inputs that are kept, which are
   copied before the kernels may write over them. */
static bool plan_checks(CudaExecutable *exe) {
    bool ok = true;
    for (size_t i = 0; i < exe->checks.count && ok; i++) {
        const Check *check = &exe->checks.items[i];
        bool is_kept = cuda_is_kept_check(exe, check);
        size_t bytes = type_bytes(graph_type(exe->graph, check->value));
        if ((!is_kept && check->moment != AFTER) || !bytes) continue;
        exe->checked[i] = reserve(exe, bytes);
        ok = add_transfer(is_kept ? &exe->to_check_before : &exe->to_check_after,
                          cuda_value_address(exe, check->value), exe->checked[i], bytes);
    }
    return ok;
}

void cuda_free_transfers(CudaExecutable *exe) {
    Transfers *all[] = {&exe->to_device, &exe->to_host, &exe->to_check_before, &exe->to_check_after};
    if (exe->run) exe->device.cu->graph_exec_destroy(exe->run);
    exe->run = NULL;
    if (exe->staging) exe->device.cu->host_free(exe->staging);
    exe->staging = NULL;
    exe->staging_bytes = 0;
    for (size_t i = 0; i < COUNT(all); i++) {
        mem_free(all[i]->items);
        *all[i] = (Transfers){0};
    }
    mem_free(exe->checked);
    exe->checked = NULL;
}

FraxStatus cuda_plan_transfers(CudaExecutable *exe, FraxError *err) {
    const Graph *g = exe->graph;
    void *memory = NULL;
    cuda_free_transfers(exe);
    exe->checked = mem_calloc(MAX(exe->checks.count, 1), sizeof *exe->checked);
    if (!exe->checked || !plan_values(exe, exe->inputs, g->ninputs, &exe->to_device) || !plan_checks(exe) ||
        !plan_values(exe, exe->outputs, g->noutputs, &exe->to_host))
        return fail_memory(err, "planning copies");
    int result = exe->device.cu->host_allocate(&memory, MAX(exe->staging_bytes, 1));
    if (result == CUDA_OUT_OF_MEMORY)
        return fail(err, FRAX_MEMORY, "out of memory: %s needs %zu bytes of page-locked memory", g->name,
                    exe->staging_bytes);
    if (result) return cuda_fail(exe->device.cu, result, err, "CUDA: page-locked memory");
    exe->staging = memory;
    return FRAX_OK;
}

/* ---- Copies ---- */

FraxStatus cuda_copy_transfers(const CudaExecutable *exe, const Transfers *transfers, bool to_device,
                               FraxError *err) {
    const CudaDriver *cu = exe->device.cu;
    int result = 0;
    for (const Transfer *t = transfers->items, *end = t + transfers->count; t < end && !result; t++)
        result = to_device ? cu->copy_to_device(t->device, exe->staging + t->staged, t->bytes, exe->stream)
                           : cu->copy_to_host(exe->staging + t->staged, t->device, t->bytes, exe->stream);
    return result ? cuda_fail(cu, result, err, "CUDA: copying values of %s", exe->graph->name) : FRAX_OK;
}

FraxStatus cuda_stage_inputs(CudaExecutable *exe, const void *const *inputs, FraxError *err) {
    const CudaDriver *cu = exe->device.cu;
    int result = 0;
    for (size_t i = 0; i < exe->graph->ninputs && !result; i++) {
        const CudaValuePlace *p = &exe->inputs[i];
        if (p->is_kept || !p->bytes) continue;
        if (p->is_direct)
            result = cu->copy_to_device(p->device, inputs[i], p->bytes, exe->stream);
        else
            memcpy(exe->staging + p->staged, inputs[i], p->bytes);
    }
    return result ? cuda_fail(cu, result, err, "CUDA: copying inputs of %s", exe->graph->name) : FRAX_OK;
}

FraxStatus cuda_fetch_direct(CudaExecutable *exe, void *const *outputs, FraxError *err) {
    const CudaDriver *cu = exe->device.cu;
    int result = 0;
    for (size_t o = 0; o < exe->graph->noutputs && !result; o++)
        if (exe->outputs[o].is_direct)
            result = cu->copy_to_host(outputs[o], exe->outputs[o].device, exe->outputs[o].bytes, exe->stream);
    return result ? cuda_fail(cu, result, err, "CUDA: copying outputs of %s", exe->graph->name) : FRAX_OK;
}

void cuda_unstage_outputs(const CudaExecutable *exe, void *const *outputs) {
    for (size_t o = 0; o < exe->graph->noutputs; o++) {
        const CudaValuePlace *p = &exe->outputs[o];
        if (!p->is_kept && !p->is_direct && p->bytes) memcpy(outputs[o], exe->staging + p->staged, p->bytes);
    }
}
