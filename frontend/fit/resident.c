/* resident.c — see resident.h. */
#include "resident.h"

FraxStatus resident_start(Resident *r, Executable *exe, bool *kept, size_t from, const void *const *inputs,
                          FraxError *err) {
    r->kept = kept;
    if (!kept) return fail_memory(err, "the trainer");
    if (!executable_has_memory(exe)) return FRAX_OK;
    r->exe = exe;
    FraxStatus status = executable_keep(exe, kept, err);
    for (size_t i = from; i < executable_graph(exe)->ninputs && !status; i++)
        status = resident_upload(r, i, inputs[i], err);
    return status;
}

void resident_end(Resident *r) {
    mem_free(r->kept);
    *r = (Resident){0};
}

FraxStatus resident_upload(const Resident *r, size_t input, const void *data, FraxError *err) {
    return r->exe && r->kept[input] ? executable_upload(r->exe, input, data, err) : FRAX_OK;
}

FraxStatus resident_download(const Resident *r, size_t input, void *data, FraxError *err) {
    return r->exe && r->kept[input] ? executable_download(r->exe, input, data, err) : FRAX_OK;
}
