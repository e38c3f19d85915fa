/* fake_library.h — what the stand-ins of libraries that run on the fake driver have in common. */
#ifndef FRAX_TESTS_FAKE_LIBRARY_H
#define FRAX_TESTS_FAKE_LIBRARY_H

#include "fake_cuda.h"
#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A function of the fake driver, which frax has opened. */
static inline void *of_driver(const char *name) {
    const char *path = getenv("FRAX_CUDA_DRIVER");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
    void *function = library ? dlsym(library, name) : NULL;
    if (library) dlclose(library);
    if (!function) abort();
    return function;
}

static inline bool holds(const void *data, size_t bytes) {
    FakeHolds *function;
    void *symbol = of_driver("fake_cuda_holds");
    memcpy(&function, &symbol, sizeof symbol);
    return function(data, bytes);
}

static inline void count(int more) {
    FakeCount *function;
    void *symbol = of_driver("fake_cuda_count");
    memcpy(&function, &symbol, sizeof symbol);
    function(more);
}

/* The status that a variable asks of a call, "cufftExecR2C:6"; 0: none. */
static inline int asked_fault(const char *variable, const char *call) {
    const char *asked = getenv(variable);
    size_t n = strlen(call);
    return asked && !strncmp(asked, call, n) && asked[n] == ':' ? atoi(asked + n + 1) : 0;
}

#endif
