/* cache.c — see cache.h. An entry is a Header and a body, and its name the hash of the key. The header
 * repeats a second hash of the key and holds a checksum of the body. The body of object code is
 *
 *     counts | scratch and prepared bytes of each kernel (u64) | FftShape of each transform | object code
 */
#include "cache.h"
#include "build_id.h"
#include "fft.h"
#include "files.h"
#include "jit.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct Header {
    char magic[8];
    uint64_t key, checksum, bytes; /* of the body */
} Header;

typedef struct ObjectCounts {
    uint64_t kernels, ffts, object_bytes;
} ObjectCounts;

static const char magic[8] = "fraxobj2";
static const char object_suffix[] = "o";
enum { LARGEST_ENTRY = 64 << 20 };

/* ---- Places ---- */

static bool make_folder(const char *path) {
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* The cache folder, made on demand; false if there is none. */
static bool cache_folder(Text *path) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (base && base[0] == '/') {
        text_printf(path, "%s", base);
    } else {
        if (!home || home[0] != '/') return false;
        text_printf(path, "%s/.cache", home);
    }
    if (path->failed || !make_folder(path->data)) return false;
    text_printf(path, "/frax");
    return !path->failed && make_folder(path->data);
}

static bool entry_path(const Text *key, const char *suffix, Text *path) {
    if (!cache_folder(path)) return false;
    text_printf(path, "/%016llx.%s", (unsigned long long)hash_bytes(1, key->data, key->len), suffix);
    return !path->failed;
}

/* ---- Entries ---- */

/* A whole file of reasonable size, or NULL. */
static char *read_file(const char *path, size_t *size) {
    Source source;
    if (source_open(path, &source, NULL)) return NULL;
    char *data = NULL;
    *size = (size_t)source.left;
    if (source.left <= LARGEST_ENTRY) data = mem_alloc(*size + 1);
    if (data && source_read(&source, data, *size, "the entry", NULL)) {
        mem_free(data);
        data = NULL;
    }
    source_close(&source);
    if (data) data[*size] = '\0';
    return data;
}

static uint64_t checksum_of(const char *body, size_t size) {
    return hash_bytes(2, body, size);
}

bool cache_load_entry(const Text *key, const char *suffix, char **body, size_t *size) {
    Text path = {0};
    size_t bytes = 0;
    char *data = entry_path(key, suffix, &path) ? read_file(path.data, &bytes) : NULL;
    Header h;
    bool ok = data && bytes >= sizeof h;
    if (ok) {
        memcpy(&h, data, sizeof h);
        *size = bytes - sizeof h;
        ok = !memcmp(h.magic, magic, sizeof magic) && h.key == hash_bytes(3, key->data, key->len) &&
             h.bytes == *size && h.checksum == checksum_of(data + sizeof h, *size);
    }
    if (ok) memmove(data, data + sizeof h, *size);
    if (!ok) mem_free(data);
    *body = ok ? data : NULL;
    text_free(&path);
    return ok;
}

void cache_store_entry(const Text *key, const char *suffix, const char *body, size_t size) {
    Text path = {0}, entry = {0};
    Header h = {
        .key = hash_bytes(3, key->data, key->len), .checksum = checksum_of(body, size), .bytes = size};
    memcpy(h.magic, magic, sizeof magic);
    text_append(&entry, (const char *)&h, sizeof h);
    text_append(&entry, body, size);
    if (!entry.failed && entry_path(key, suffix, &path)) file_replace(path.data, entry.data, entry.len, NULL);
    text_free(&path);
    text_free(&entry);
}

/* ---- Object code ---- */

bool cache_key(const Program *program, const HostTarget *target, Text *key) {
    char version[32];
    graph_print(program->graph, key);
    build_id(key);
    text_printf(key, " frax %s llvm %s\n%s %s %s\n", FRAX_VERSION, jit_llvm_version(version), target->triple,
                target->cpu, target->features);
    return !key->failed;
}

static bool counts_fit(const ObjectCounts *c, const Program *p, size_t size) {
    if (c->kernels != (uint64_t)p->nkernels || c->ffts > (uint64_t)p->nkernels * MAX_ROW_OPS ||
        c->object_bytes > size)
        return false;
    return size ==
           sizeof *c + c->kernels * 2 * sizeof(uint64_t) + c->ffts * sizeof(FftShape) + c->object_bytes;
}

static bool unpack(const char *body, size_t bytes, Program *p, char **object, size_t *size) {
    ObjectCounts c;
    if (bytes < sizeof c) return false;
    memcpy(&c, body, sizeof c);
    const char *at = body + sizeof c;
    if (!counts_fit(&c, p, bytes) || !mem_grow(&p->ffts, &p->ffts_capacity, (size_t)c.ffts, sizeof *p->ffts))
        return false;
    *size = (size_t)c.object_bytes;
    *object = mem_alloc(*size);
    if (!*object) return false;
    for (int k = 0; k < p->nkernels; k++, at += 2 * sizeof(uint64_t)) {
        uint64_t scratch[2];
        memcpy(scratch, at, sizeof scratch);
        p->kernels[k].scratch = (size_t)scratch[0];
        if (scratch[1]) program_prepare(p, k, (size_t)scratch[1]);
    }
    if (c.ffts) memcpy(p->ffts, at, (size_t)c.ffts * sizeof *p->ffts);
    p->nffts = (size_t)c.ffts;
    memcpy(*object, at + c.ffts * sizeof *p->ffts, *size);
    return true;
}

bool cache_load(const Text *key, Program *p, char **object, size_t *size) {
    char *body;
    size_t bytes;
    if (!cache_load_entry(key, object_suffix, &body, &bytes)) return false;
    bool ok = unpack(body, bytes, p, object, size);
    mem_free(body);
    return ok;
}

void cache_store(const Text *key, const Program *p, const char *object, size_t size) {
    Text body = {0};
    ObjectCounts c = {.kernels = (uint64_t)p->nkernels, .ffts = p->nffts, .object_bytes = size};
    text_append(&body, (const char *)&c, sizeof c);
    for (int k = 0; k < p->nkernels; k++) {
        uint64_t scratch[2] = {p->kernels[k].scratch, p->kernels[k].prepared};
        text_append(&body, (const char *)scratch, sizeof scratch);
    }
    text_append(&body, (const char *)p->ffts, p->nffts * sizeof *p->ffts);
    text_append(&body, object, size);
    if (!body.failed) cache_store_entry(key, object_suffix, body.data, body.len);
    text_free(&body);
}

/* ---- Wisdom ---- */

static void wisdom_once(void) {
    Text path = {0};
    size_t size;
    char *wisdom = NULL;
    if (cache_folder(&path)) {
        text_printf(&path, "/fftw-wisdom");
        if (!path.failed) wisdom = read_file(path.data, &size);
    }
    if (wisdom) fft_wisdom_import(wisdom);
    mem_free(wisdom);
    text_free(&path);
}

void cache_load_wisdom(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, wisdom_once);
}

void cache_store_wisdom(void) {
    Text path = {0}, wisdom = {0};
    fft_wisdom_export(&wisdom);
    if (wisdom.len && !wisdom.failed && cache_folder(&path)) {
        text_printf(&path, "/fftw-wisdom");
        if (!path.failed) file_replace(path.data, wisdom.data, wisdom.len, NULL);
    }
    text_free(&path);
    text_free(&wisdom);
}
