/* test_allocator.c — memory from the host: everything that frax holds comes from its functions, in the
 * alignment that was asked for, and goes back to them.
 */
#include "frax.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Each block has its size and this mark before it. */
typedef struct Block {
    size_t bytes, mark;
    void *whole;
} Block;

enum { MARK = 0x5a5a };

typedef struct Heap {
    size_t live, total, limit; /* bytes; limit 0: none */
} Heap;

static Block *block_of(void *memory) {
    Block *block = (Block *)memory - 1;
    assert_int_equal(block->mark, MARK);
    return block;
}

static void *allocate(void *context, size_t bytes, size_t alignment) {
    Heap *heap = context;
    assert_true(bytes > 0 && alignment >= 16 && (alignment & (alignment - 1)) == 0);
    if (heap->limit && heap->live + bytes > heap->limit) return NULL;
    char *whole = malloc(bytes + alignment + sizeof(Block));
    if (!whole) return NULL;
    uintptr_t at = ((uintptr_t)whole + sizeof(Block) + alignment - 1) / alignment * alignment;
    char *memory = whole + (at - (uintptr_t)whole);
    Block block = {bytes, MARK, whole};
    memcpy(memory - sizeof block, &block, sizeof block);
    heap->live += bytes, heap->total += bytes;
    return memory;
}

static void release(void *context, void *memory) {
    Block *block = block_of(memory);
    ((Heap *)context)->live -= block->bytes;
    block->mark = 0;
    free(block->whole);
}

static void *resize(void *context, void *memory, size_t bytes) {
    void *grown = allocate(context, bytes, 16);
    if (!grown) return NULL;
    size_t had = block_of(memory)->bytes;
    memcpy(grown, memory, had < bytes ? had : bytes);
    release(context, memory);
    return grown;
}

static const char text[] =
    "model m(x: f64[N]) {\n param a: f64 = 0.5\n y = frac(x, a, kind=weyl)\n loss = sum(y^2)\n"
    " return loss, y\n}\n";

static FraxStatus use(FraxError *err) {
    FraxModel *model = NULL;
    FraxExecutable *exe = NULL;
    FraxOptions options = frax_default_options();
    FraxSize size = {"N", 64};
    double x[64] = {1, 2, 3}, a = 0.5, y[64], loss, slope;
    options.sizes = &size;
    options.nsizes = 1;
    options.mode = FRAX_REVERSE;
    options.no_cache = 1;
    FraxStatus status = frax_model_parse(text, NULL, NULL, &model, err);
    if (!status) status = frax_compile(model, &options, &exe, err);
    if (!status)
        status = frax_run(exe, (const void *[]){x}, (const void *[]){&a}, (void *[]){&loss, y, &slope}, err);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
    return status;
}

static void test_own_allocator(void **state) {
    (void)state;
    static Heap heap;
    FraxError err;
    FraxAllocator own = {allocate, resize, NULL, &heap};
    assert_int_equal(frax_set_allocator(&own, &err), FRAX_USAGE);
    own.release = release;
    assert_int_equal(frax_set_allocator(&own, &err), FRAX_OK);
    if (use(&err)) fail_msg("%s", err.message);
    assert_true(heap.total > 10000);
    for (int i = 0; i < 64; i++)
        assert_int_equal(use(&err), FRAX_OK); /* builds with assertions keep some handles */
    size_t held = heap.live;                  /* by plans of transforms, which stay for the next model */
    if (use(&err)) fail_msg("%s", err.message);
    assert_int_equal(heap.live, held);

    heap.limit = held + 20000;
    assert_int_equal(use(&err), FRAX_MEMORY);
    heap.limit = 0;

    FraxModel *model;
    assert_int_equal(frax_model_parse(text, NULL, NULL, &model, &err), FRAX_OK);
    assert_int_equal(frax_set_allocator(NULL, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "before anything else"));
    frax_model_destroy(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_own_allocator)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
