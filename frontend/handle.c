/* handle.c — see handle.h. */
#include "handle.h"
#include <stdatomic.h>

FraxStatus handle_fail(const void *handle, const char *call, const char *name, FraxError *err) {
    if (!handle) return fail(err, FRAX_USAGE, "%s: %s is NULL", call, name);
    return fail(err, FRAX_USAGE, "%s: %s was destroyed before, or is a handle of another kind", call, name);
}

#ifdef NDEBUG
bool handles_are_checked(void) {
    return false;
}

void handle_free(void *handle) {
    mem_free(handle);
}
#else
enum { KEPT = 64 };

bool handles_are_checked(void) {
    return true;
}

void handle_free(void *handle) {
    static _Atomic(void *) kept[KEPT];
    static atomic_uint next;
    *(HandleKind *)handle = HANDLE_DESTROYED;
    mem_free(atomic_exchange(&kept[atomic_fetch_add(&next, 1) % KEPT], handle));
}
#endif
