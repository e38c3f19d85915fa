/* cuda_fakes.h — the stand-ins of fake_cuda/ in place of NVIDIA's driver and libraries, and what they have
 * seen.
 *
 * With FRAX_TEST_GPU=1 in the environment tests run on the GPU of this machine, through the driver and
 * libraries that frax finds there. Cases that set the stand-ins to fail, or rest on what only they find, are
 * skipped then and say so (needs_fakes); what the stand-ins count is not looked at. Cases that would keep the
 * stand-ins too long are skipped without a GPU (needs_gpu).
 */
#ifndef FRAX_TESTS_CUDA_FAKES_H
#define FRAX_TESTS_CUDA_FAKES_H

#include <dlfcn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static inline bool on_gpu(void) {
    const char *value = getenv("FRAX_TEST_GPU");
    return value && *value && strcmp(value, "0") != 0;
}

/* Before anything is compiled, in this process and those that it starts. */
static inline void use_fakes(void) {
    if (on_gpu()) return;
    setenv("FRAX_CUDA_DRIVER", FAKE_CUDA "/libcuda.so.1", 1);
    setenv("FRAX_NVRTC", FAKE_CUDA "/libnvrtc.so.13", 1);
    setenv("FRAX_CUBLASLT", FAKE_CUDA "/libcublasLt.so.13", 1);
    setenv("FRAX_CUFFT", FAKE_CUDA "/libcufft.so.12", 1);
}

/* At the start of a case that is nothing without them. */
static inline void needs_fakes(const char *why) {
    if (!on_gpu()) return;
    print_message("not on a GPU: %s\n", why);
    skip();
}

static inline void needs_gpu(const char *why) {
    if (on_gpu()) return;
    print_message("on a GPU alone: %s\n", why);
    skip();
}

/* A function of the driver that frax has opened. */
static inline void *fake_function(const char *name) {
    void *library = dlopen(FAKE_CUDA "/libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), *function;
    assert_non_null(library);
    function = dlsym(library, name);
    assert_non_null(function);
    dlclose(library);
    return function;
}

/* Objects of the driver that were made and not given back; a GPU's driver does not tell. */
static inline long live_objects(void) {
    long (*live)(void);
    if (on_gpu()) return 0;
    void *function = fake_function("fake_cuda_live");
    memcpy(&live, &function, sizeof live);
    return live();
}

/* Contexts that were made; a GPU's driver does not tell. */
static inline long made_contexts(void) {
    long (*contexts)(void);
    if (on_gpu()) return 0;
    void *function = fake_function("fake_cuda_contexts");
    memcpy(&contexts, &function, sizeof contexts);
    return contexts();
}

typedef struct Counts {
    long kernels, copies, graphs;
} Counts;

/* What was done since `before`; nothing is known of a GPU. */
static inline Counts counts_since(Counts before) {
    void (*counts)(long *kernels, long *copies, long *graphs);
    Counts now;
    if (on_gpu()) return (Counts){0};
    void *function = fake_function("fake_cuda_counts");
    memcpy(&counts, &function, sizeof counts);
    counts(&now.kernels, &now.copies, &now.graphs);
    return (Counts){now.kernels - before.kernels, now.copies - before.copies, now.graphs - before.graphs};
}

/* Orders of the threads between barriers: a kernel that misses a barrier gives other results under one. On a
   GPU they only repeat the run. */
static const char *const thread_orders[] = {"forwards", "backwards", "12345"};
enum { THREAD_ORDERS = 3 };

static inline void use_order(int i) {
    setenv("FAKE_CUDA_ORDER", thread_orders[i], 1);
}

#endif
