/* handle.h — what frax.h hands out: each begins with its kind, so that builds with assertions notice a handle
 * that was destroyed, or is of another kind.
 *
 * There a destroyed handle's own memory (not what it owned) is kept for a while, so that looking at it is
 * safe.
 */
#ifndef FRAX_HANDLE_H
#define FRAX_HANDLE_H

#include "base.h"

/* The values are unlikely ones for anything else. */
typedef enum HandleKind {
    HANDLE_DESTROYED = 0x66726430,
    HANDLE_MODEL,
    HANDLE_EXECUTABLE,
    HANDLE_TRAINER,
    HANDLE_BUILDER
} HandleKind;

/* Can the handle be used? NULL cannot. */
static inline bool handle_is(const void *handle, HandleKind kind) {
#ifdef NDEBUG
    (void)kind;
    return handle;
#else
    return handle && *(const HandleKind *)handle == kind;
#endif
}

/* Is this a build that notices more than NULL? */
bool handles_are_checked(void);
/* FRAX_USAGE: why not. */
FraxStatus handle_fail(const void *handle, const char *call, const char *name, FraxError *err);
/* Frees a handle whose parts are freed already. */
void handle_free(void *handle);

#endif
