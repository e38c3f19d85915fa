/* resident.h — what a trainer keeps in a device's memory between steps (FRAX_CUDA): parameters, the
 * optimizer's state, and data that do not change, so that a step transfers the batch and the loss alone.
 *
 * On targets without memory of their own all calls do nothing, and the trainer's buffers are the values.
 */
#ifndef FRAX_RESIDENT_H
#define FRAX_RESIDENT_H

#include "executable.h"

typedef struct Resident {
    Executable *exe; /* NULL: the target has no memory of its own */
    bool *kept;      /* of the graph's inputs */
} Resident;

/* Takes `kept` (mem_alloc) over and uploads the kept inputs from `from` on. */
FraxStatus resident_start(Resident *resident, Executable *exe, bool *kept, size_t from,
                          const void *const *inputs, FraxError *err);
void resident_end(Resident *resident);
/* The caller's array of an input that is kept, to the device or from it. */
FraxStatus resident_upload(const Resident *resident, size_t input, const void *data, FraxError *err);
FraxStatus resident_download(const Resident *resident, size_t input, void *data, FraxError *err);

#endif
