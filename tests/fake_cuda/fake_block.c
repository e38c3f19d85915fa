/* fake_block.c — a block of threads as fibers that run one after the other from barrier to barrier.
 *
 * Each pass lets every thread that may run do so until its next barrier, in the order asked for; then the
 * barriers are judged that all their threads have reached. Where nobody can go on, or threads meet that came
 * by different lines, the launch has failed: a real device would hang, or do anything.
 */
#define FAKE_CUDA_DRIVER
#include "fake_cuda.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

enum { STACK = 256 << 10 };

typedef enum State { READY, AT_WARP, AT_BLOCK, RETURNED } State;

typedef struct Fiber {
    char *stack;
#if defined(__x86_64__)
    void *place; /* of its stack pointer while others run */
#else
    ucontext_t place;
#endif
    State state;
    int line;
    unsigned meetings;
    uint64_t given[2]; /* to the shuffle of even and of odd number */
} Fiber;

static Fiber fibers[FAKE_THREADS];
static Fiber main_fiber;
static int current, nthreads;
static const FakeLaunch *launch;
static bool partial_mask, misaligned_access;

/* ---- Fibers ---- */

/* Of AddressSanitizer, where the process has it. */
void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t size) __attribute__((weak));
void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *size) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void *memory, size_t size) __attribute__((weak));

#if defined(__x86_64__)
void fake_switch(void **from, void *to);
__asm__(".text\n.hidden fake_switch\n.globl fake_switch\n.type fake_switch,@function\nfake_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size fake_switch,.-fake_switch\n");
#endif

static void switch_places(Fiber *from, Fiber *to) {
#if defined(__x86_64__)
    fake_switch(&from->place, to->place);
#else
    swapcontext(&from->place, &to->place);
#endif
}

static const void *main_bottom;
static size_t main_size;

static void to_fiber(int thread) {
    void *save = NULL;
    current = thread;
    *launch->module->thread = (FakeIndex){(unsigned)thread, 0, 0};
    if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&save, fibers[thread].stack, STACK);
    switch_places(&main_fiber, &fibers[thread]);
    if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(save, NULL, NULL);
}

static void to_main(State state, int line) {
    Fiber *f = &fibers[current];
    void *save = NULL;
    f->state = state;
    f->line = line;
    if (__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(state == RETURNED ? NULL : &save, main_bottom, main_size);
    switch_places(f, &main_fiber);
    if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(save, &main_bottom, &main_size);
}

static void fiber_main(void) {
    if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(NULL, &main_bottom, &main_size);
    launch->kernel(launch->context, launch->scratch);
    to_main(RETURNED, 0);
    abort();
}

static void start_fiber(int thread) {
    Fiber *f = &fibers[thread];
    if (!f->stack)
        f->stack =
            mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->stack == MAP_FAILED) abort();
    f->state = READY;
    f->meetings = 0;
#if defined(__x86_64__)
    void **top = (void **)(f->stack + STACK - 64);
    void (*entry)(void) = fiber_main;
    memcpy(top, &entry, sizeof entry); /* where the switch returns to, with the stack as after a call */
    f->place = top - 6;
#else
    getcontext(&f->place);
    f->place.uc_stack.ss_sp = f->stack;
    f->place.uc_stack.ss_size = STACK;
    makecontext(&f->place, fiber_main, 0);
#endif
}

/* ---- What threads ask for ---- */

static void sync_threads(int line) {
    to_main(AT_BLOCK, line);
}

/* Threads of a warp that has fewer than 32 are all there. */
static void sync_warp(unsigned mask, int line) {
    partial_mask |= mask != ~0u;
    to_main(AT_WARP, line);
}

/* Who reads has passed this meeting; who writes for the one after the next has passed the next. */
static void shuffle(void *value, size_t bytes, unsigned mask, int lane, int line) {
    int self = current, source = self / FAKE_WARP * FAKE_WARP + lane;
    unsigned number = fibers[self].meetings++ % 2;
    memcpy(&fibers[self].given[number], value, bytes);
    sync_warp(mask, line);
    if (lane >= 0 && lane < FAKE_WARP && source < nthreads)
        memcpy(value, &fibers[source].given[number], bytes);
}

static void misaligned(void) {
    misaligned_access = true;
}

const FakeBlock fake_block = {sync_threads, sync_warp, shuffle, misaligned};

/* ---- Blocks ---- */

/* xorshift64 */
static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static void choose_order(int *order) {
    static uint64_t random;
    const char *how = getenv("FAKE_CUDA_ORDER");
    bool backwards = how && !strcmp(how, "backwards");
    for (int i = 0; i < nthreads; i++) order[i] = backwards ? nthreads - 1 - i : i;
    if (!how || how[0] < '1' || how[0] > '9') return;
    if (!random) random = strtoull(how, NULL, 10) * 0x9e3779b97f4a7c15u | 1;
    for (int i = nthreads - 1; i > 0; i--) {
        int k = (int)(next_random(&random) % (uint64_t)(i + 1)), swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
}

/* Lets threads [first, end) go on if all wait in this state, and came by the same line. */
static bool release(int first, int end, State state) {
    for (int t = first; t < end; t++)
        if (fibers[t].state != state || fibers[t].line != fibers[first].line) return false;
    for (int t = first; t < end; t++) fibers[t].state = READY;
    return true;
}

static bool release_all(void) {
    bool any = release(0, nthreads, AT_BLOCK);
    for (int first = 0; first < nthreads; first += FAKE_WARP) {
        int end = first + FAKE_WARP;
        any |= release(first, end < nthreads ? end : nthreads, AT_WARP);
    }
    return any;
}

static void describe(char *fault, size_t size, unsigned block) {
    static const char *const words[] = {"runs", "waits for its warp", "waits for its block", "has returned"};
    int other = 1;
    while (other < nthreads && fibers[other].state == fibers[0].state && fibers[other].line == fibers[0].line)
        other++;
    other %= nthreads;
    snprintf(
        fault, size,
        "the threads of kernel %s never meet: in block %u thread 0 %s at line %d, thread %d %s at line %d",
        launch->name, block, words[fibers[0].state], fibers[0].line, other, words[fibers[other].state],
        fibers[other].line);
    for (int t = 0; t < nthreads && __asan_unpoison_memory_region; t++)
        __asan_unpoison_memory_region(fibers[t].stack, STACK);
}

static bool run_block(unsigned block, char *fault, size_t size) {
    int order[FAKE_THREADS];
    bool done = false;
    for (int t = 0; t < nthreads; t++) start_fiber(t);
    while (!done) {
        bool ran = false;
        done = true;
        choose_order(order);
        for (int i = 0; i < nthreads; i++) {
            if (fibers[order[i]].state != READY) continue;
            to_fiber(order[i]);
            ran = true;
        }
        for (int t = 0; t < nthreads; t++) done &= fibers[t].state == RETURNED;
        if (!done && !release_all() && !ran) {
            describe(fault, size, block);
            return false;
        }
    }
    return true;
}

enum { CANARY = 0x5a };

static bool shared_is_intact(const FakeLaunch *l) {
    for (size_t i = 0; i < l->module->nshared; i++)
        for (size_t at = l->shared; at < FAKE_SHARED_BYTES; at++)
            if (l->module->shared[i][at] != CANARY) return false;
    return true;
}

int fake_run_launch(const FakeLaunch *l, char *fault, size_t size) {
    const FakeModule *m = l->module;
    bool ok = true;
    launch = l;
    nthreads = (int)l->threads;
    partial_mask = misaligned_access = false;
    *m->threads = (FakeIndex){l->threads, 1, 1};
    *m->blocks = (FakeIndex){l->grid, 1, 1};
    for (size_t i = 0; i < m->nshared; i++) memset(m->shared[i], CANARY, FAKE_SHARED_BYTES);
    for (unsigned b = 0; b < l->grid && ok; b++) {
        *m->block = (FakeIndex){b, 0, 0};
        for (size_t i = 0; i < m->nshared; i++) memset(m->shared[i], 0xff, l->shared);
        ok = run_block(b, fault, size);
    }
    if (ok && !shared_is_intact(l)) {
        snprintf(fault, size, "kernel %s writes beyond its %zu bytes of shared memory", l->name, l->shared);
        ok = false;
    }
    if (ok && partial_mask) {
        snprintf(fault, size, "kernel %s has a warp meet in part", l->name);
        ok = false;
    }
    if (ok && misaligned_access) {
        snprintf(fault, size, "kernel %s makes a misaligned access", l->name);
        ok = false;
    }
    return ok;
}
