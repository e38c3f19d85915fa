/* base.c — statuses, heap with failure injection, arenas, text, small helpers. See base.h. */
#include "base.h"
#include <locale.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- Errors ---- */

const char *frax_status_string(FraxStatus status) {
    static const char *const meanings[] = {
#define X(code, exit_status, meaning) meaning,
        FRAX_STATUSES(X)
#undef X
    };
    return (size_t)status < COUNT(meanings) ? meanings[status] : "unknown status";
}

FraxStatus fail(FraxError *err, FraxStatus status, const char *fmt, ...) {
    if (!err) return status;
    va_list ap;
    va_start(ap, fmt);
    err->status = status;
    err->line = err->column = 0;
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    va_end(ap);
    return status;
}

FraxStatus fail_memory(FraxError *err, const char *what) {
    return fail(err, FRAX_MEMORY, "out of memory while %s", what);
}

/* ---- Whoever waits for a long call ---- */

FraxStatus watch_stage(const Watch *watch, const char *stage, int64_t done, int64_t total, FraxError *err) {
    if (!watch || !watch->progress || !watch->progress(watch->context, stage, done, total)) return FRAX_OK;
    return fail(err, FRAX_CANCELLED, "stopped by the caller before: %s", stage);
}

void watch_log(const Watch *watch, const char *fmt, ...) {
    if (!watch || !watch->log) return;
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    watch->log(watch->context, message);
}

/* ---- Element types ---- */

const char *frax_dtype_name(FraxDType dtype) {
    static const char *const names[] = {
#define X(code, name, bytes) name,
        FRAX_DTYPES(X)
#undef X
    };
    return (size_t)dtype < COUNT(names) ? names[dtype] : "?";
}

size_t frax_dtype_size(FraxDType dtype) {
    static const uint8_t sizes[] = {
#define X(code, name, bytes) bytes,
        FRAX_DTYPES(X)
#undef X
    };
    return (size_t)dtype < COUNT(sizes) ? sizes[dtype] : 0;
}

/* ---- Heap ---- */

static atomic_long allocations, live;
static atomic_long fail_at;     /* 0: never */
static FraxAllocator allocator; /* the caller's; allocate NULL: the C library */

FraxStatus frax_set_allocator(const FraxAllocator *own, FraxError *err) {
    if (own && (!own->allocate || !own->resize || !own->release))
        return fail(err, FRAX_USAGE, "frax_set_allocator: allocate, resize and release must all be given");
    if (atomic_load(&live))
        return fail(err, FRAX_USAGE,
                    "frax_set_allocator: frax holds memory already; call it before anything else of frax");
    allocator = own ? *own : (FraxAllocator){0};
    return FRAX_OK;
}

static void *count_live(void *p) {
    if (p) atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return p;
}

static void *allocate_own(size_t bytes, size_t alignment) {
    return count_live(allocator.allocate(allocator.context, bytes, alignment));
}

enum { ALIGNMENT = 16 }; /* of memory for anything but arrays */

static bool must_fail(void) {
    long n = atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed) + 1;
    long at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    return at && n >= at;
}

void mem_fail_after(long n) {
    atomic_store(&fail_at, n ? atomic_load(&allocations) + n : 0);
}

long mem_count(void) {
    return atomic_load(&allocations);
}

void *mem_alloc(size_t bytes) {
    bytes = bytes ? bytes : 1;
    if (must_fail()) return NULL;
    return allocator.allocate ? allocate_own(bytes, ALIGNMENT) : count_live(malloc(bytes));
}

void *mem_calloc(size_t count, size_t size) {
    count = count ? count : 1, size = size ? size : 1;
    if (must_fail()) return NULL;
    if (!allocator.allocate) return count_live(calloc(count, size));
    void *p = count > SIZE_MAX / size ? NULL : allocate_own(count * size, ALIGNMENT);
    return p ? memset(p, 0, count * size) : NULL;
}

void *mem_realloc(void *p, size_t bytes) {
    if (!p) return mem_alloc(bytes);
    bytes = bytes ? bytes : 1;
    if (must_fail()) return NULL;
    return allocator.allocate ? allocator.resize(allocator.context, p, bytes) : realloc(p, bytes);
}

enum { LARGE_PAGE = 2 << 20 };

/* What goes through large arrays in strides, as long transforms do, else waits for the translation of
   addresses more than for the data. A hint: nothing depends on whether it is followed. */
static void ask_for_large_pages(void *p, size_t bytes) {
#ifdef MADV_HUGEPAGE
    madvise(p, bytes / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
#else
    (void)p, (void)bytes;
#endif
}

void *mem_aligned(size_t bytes) {
    size_t alignment = bytes < LARGE_PAGE ? 64 : LARGE_PAGE;
    if (must_fail() || bytes > SIZE_MAX - LARGE_PAGE) return NULL;
    void *p = NULL;
    size_t rounded = (bytes + 63) / 64 * 64 + (bytes == 0) * 64;
    if (allocator.allocate) return allocate_own(rounded, 64);
    if (posix_memalign(&p, alignment, rounded)) return NULL;
    count_live(p);
    if (bytes >= LARGE_PAGE) ask_for_large_pages(p, bytes);
    return p;
}

void mem_free(void *p) {
    if (!p) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    if (allocator.allocate)
        allocator.release(allocator.context, p);
    else
        free(p);
}

char *mem_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = mem_alloc(n);
    return copy ? memcpy(copy, s, n) : NULL;
}

bool mem_grow(void *items, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t grown = MAX(*cap * 2, MAX(need, 16));
    if (grown > SIZE_MAX / size) return false;
    void *p;
    memcpy(&p, items, sizeof p);
    p = mem_realloc(p, grown * size);
    if (!p) return false;
    memcpy(items, &p, sizeof p);
    *cap = grown;
    return true;
}

/* ---- Arena ---- */

typedef struct ArenaBlock {
    struct ArenaBlock *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
} ArenaBlock;

enum { ARENA_BLOCK = 16 * 1024 };

void *arena_alloc(Arena *arena, size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    ArenaBlock *block = arena->blocks;
    if (!block || block->size - block->used < bytes) {
        size_t size = MAX(bytes, (size_t)ARENA_BLOCK);
        block = mem_alloc(sizeof *block + size);
        if (!block) return NULL;
        *block = (ArenaBlock){.next = arena->blocks, .size = size};
        arena->blocks = block;
    }
    void *p = block->data + block->used;
    block->used += bytes;
    return memset(p, 0, bytes);
}

char *arena_strndup(Arena *arena, const char *s, size_t n) {
    char *copy = arena_alloc(arena, n + 1);
    return copy ? memcpy(copy, s, n) : NULL;
}

char *arena_printf(Arena *arena, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *s = n < 0 ? NULL : arena_alloc(arena, (size_t)n + 1);
    if (s) vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return s;
}

void arena_free(Arena *arena) {
    for (ArenaBlock *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        mem_free(block);
    }
    arena->blocks = NULL;
}

/* ---- Text ---- */

static bool text_reserve(Text *text, size_t extra) {
    if (!text->failed && !mem_grow(&text->data, &text->cap, text->len + extra + 1, 1)) text->failed = true;
    return !text->failed;
}

void text_append(Text *text, const char *s, size_t n) {
    if (!text_reserve(text, n)) return;
    if (n) memcpy(text->data + text->len, s, n);
    text->len += n;
    text->data[text->len] = '\0';
}

void text_printf(Text *text, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n >= 0 && text_reserve(text, (size_t)n)) {
        vsnprintf(text->data + text->len, (size_t)n + 1, fmt, again);
        text->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void text_free(Text *text) {
    mem_free(text->data);
    *text = (Text){0};
}

/* printf and strtod write and read the decimal point of the host's locale. */
static const char *decimal_point(void) {
    return localeconv()->decimal_point;
}

const char *double_text(double v, char buffer[32]) {
    if (isnan(v)) return strcpy(buffer, "nan");
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buffer, 32, "%.*g", digits, v);
        if (strtod(buffer, NULL) == v) break;
    }
    char *point = strstr(buffer, decimal_point());
    if (point) {
        size_t n = strlen(decimal_point());
        *point = '.';
        memmove(point + 1, point + n, strlen(point + n) + 1);
    }
    return buffer;
}

static bool parse_special(const char *s, size_t n, double *v) {
    bool negative = n && *s == '-';
    s += negative, n -= negative;
    if (n != 3 || (strncmp(s, "inf", 3) && strncmp(s, "nan", 3))) return false;
    *v = *s == 'n' ? NAN : negative ? -INFINITY : INFINITY;
    return true;
}

bool double_parse(const char *s, size_t n, double *v) {
    enum { LONGEST = 400 };
    char buffer[LONGEST + 8], *end;
    size_t used = 0;
    if (parse_special(s, n, v)) return true;
    if (n == 0 || n > LONGEST) return false;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '.' && used + strlen(decimal_point()) < sizeof buffer)
            used += (size_t)snprintf(buffer + used, sizeof buffer - used, "%s", decimal_point());
        else if (s[i] && strchr("0123456789eE+-", s[i]) && used + 1 < sizeof buffer)
            buffer[used++] = s[i];
        else
            return false;
    }
    buffer[used] = '\0';
    *v = strtod(buffer, &end);
    return *end == '\0' && !isinf(*v);
}

/* ---- Small helpers ---- */

bool mul_overflows(int64_t a, int64_t b, int64_t *product) {
    return __builtin_mul_overflow(a, b, product);
}

/* Edits that turn a into b, where two neighbours exchanged are one edit (optimal string alignment). */
static size_t edit_distance(const char *a, const char *b) {
    enum { LONGEST = 48 };
    size_t rows[3][LONGEST + 1], m = strlen(a), n = strlen(b);
    if (n > LONGEST || m > LONGEST) return LONGEST;
    for (size_t j = 0; j <= n; j++) rows[0][j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            row[j] = MIN(above[j - 1] + (a[i - 1] != b[j - 1]), MIN(above[j], row[j - 1]) + 1);
            bool exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (exchanged) row[j] = MIN(row[j], second[j - 2] + 1);
        }
    }
    return rows[m % 3][n];
}

const char *nearest_name(const char *name, const char *const *names, size_t n) {
    const char *best = NULL;
    size_t length = strlen(name), limit = length <= 1 ? 0 : length <= 3 ? 1 : 2, best_distance = limit + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = edit_distance(name, names[i]);
        if (d < best_distance) best = names[i], best_distance = d;
    }
    return best;
}

uint64_t hash_bytes(uint64_t seed, const void *data, size_t n) {
    const unsigned char *p = data;
    uint64_t h = seed ^ 0xcbf29ce484222325u; /* FNV-1a, finished with a SplitMix64 round */
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    h ^= h >> 30, h *= 0xbf58476d1ce4e5b9u;
    h ^= h >> 27, h *= 0x94d049bb133111ebu;
    return h ^ (h >> 31);
}
