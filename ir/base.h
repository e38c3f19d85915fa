/* base.h — what every folder stands on: statuses with messages, memory that may run out, arenas, strings.
 *
 * Errors travel upward as a FraxStatus plus a FraxError that the outermost caller owns. All heap memory of
 * frax goes through mem_*; a test can make the n-th allocation fail (mem_fail_after), so every caller handles
 * NULL.
 */
#ifndef FRAX_BASE_H
#define FRAX_BASE_H

#include "frax.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#define COUNT(array)           (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b)              ((a) < (b) ? (a) : (b))
#define MAX(a, b)              ((a) > (b) ? (a) : (b))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* ---- Errors ---- */

/* Fills *err (if not NULL) and returns `status`, so that a failing function can end in `return fail(...)`. */
FraxStatus fail(FraxError *err, FraxStatus status, const char *fmt, ...) PRINTF_LIKE(3, 4);
FraxStatus fail_memory(FraxError *err, const char *what);

/* ---- Whoever waits for a long call ---- */

/* progress and log of FraxOptions; each may be NULL, and so may a pointer to a Watch. */
typedef struct Watch {
    int (*progress)(void *context, const char *stage, int64_t done, int64_t total);
    void (*log)(void *context, const char *message);
    void *context;
} Watch;

/* Tells what begins; FRAX_CANCELLED if nobody wants it any more. */
FraxStatus watch_stage(const Watch *watch, const char *stage, int64_t done, int64_t total, FraxError *err);
void watch_log(const Watch *watch, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- Heap ---- */

void *mem_alloc(size_t bytes);               /* uninitialised; NULL when out of memory */
void *mem_calloc(size_t count, size_t size); /* zeroed; NULL on overflow too */
void *mem_realloc(void *p, size_t bytes);    /* p stays valid when NULL is returned */
void *mem_aligned(size_t bytes);             /* 64-byte aligned, uninitialised; freed by mem_free */
void mem_free(void *p);
char *mem_strdup(const char *s);

/* Testing: the n-th allocation from now (1 = the next) and all after it fail; 0 turns failing off. */
void mem_fail_after(long n);
/* Testing: allocations made so far in this process. */
long mem_count(void);

/* Grows *items (capacity *cap, element `size`) to hold at least `need` elements. False when out of memory. */
bool mem_grow(void *items, size_t *cap, size_t need, size_t size);

/* ---- Arena: memory that lives as long as its owner and is freed at once ---- */

typedef struct Arena {
    struct ArenaBlock *blocks;
} Arena;

void *arena_alloc(Arena *arena, size_t bytes); /* zeroed, 16-byte aligned; NULL when out of memory */
char *arena_strndup(Arena *arena, const char *s, size_t n);
char *arena_printf(Arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
void arena_free(Arena *arena);

/* ---- Growing text; after a failed allocation `failed` is set and appends are ignored ---- */

typedef struct Text {
    char *data; /* NUL-terminated, or NULL while empty */
    size_t len, cap;
    bool failed;
} Text;

void text_printf(Text *text, const char *fmt, ...) PRINTF_LIKE(2, 3);
void text_append(Text *text, const char *s, size_t n);
void text_free(Text *text);

/* Doubles as text, whatever the locale of the host: the fewest of 15, 16, 17 digits that read back exactly,
   inf, -inf, nan. */
const char *double_text(double v, char buffer[32]);
/* Reads exactly s[0..n): the text of double_text or any decimal number; false if it is none or beyond f64. */
bool double_parse(const char *s, size_t n, double *v);

/* ---- Small helpers ---- */

bool mul_overflows(int64_t a, int64_t b, int64_t *product);
/* The entry of names[0..n) nearest to `name` by edit distance, or NULL if none is near; for "did you mean".
 */
const char *nearest_name(const char *name, const char *const *names, size_t n);
uint64_t hash_bytes(uint64_t seed, const void *data, size_t n);

#endif
