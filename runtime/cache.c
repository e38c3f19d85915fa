/* cache.c — see cache.h. An entry is
 *
 *     Header | scratch and prepared bytes of each kernel (u64) | FftShape of each transform | object code
 *
 * and its name the hash of the key. The header repeats a second hash of the key and holds a checksum of all
 * that follows it.
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
    uint64_t key, checksum;
    uint64_t kernels, ffts, object_bytes;
} Header;

static const char magic[8] = "fraxobj1";
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

static bool entry_path(const Text *key, Text *path) {
    if (!cache_folder(path)) return false;
    text_printf(path, "/%016llx.o", (unsigned long long)hash_bytes(1, key->data, key->len));
    return !path->failed;
}

/* ---- Entries ---- */

bool cache_key(const Program *program, const HostTarget *target, Text *key) {
    char version[32];
    graph_print(program->graph, key);
    build_id(key);
    text_printf(key, " frax %s llvm %s\n%s %s %s\n", FRAX_VERSION, jit_llvm_version(version), target->triple,
                target->cpu, target->features);
    return !key->failed;
}

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

static bool header_fits(const Header *h, const Text *key, const Program *p, size_t size) {
    if (memcmp(h->magic, magic, sizeof magic) || h->key != hash_bytes(3, key->data, key->len)) return false;
    if (h->kernels != (uint64_t)p->nkernels || h->ffts > (uint64_t)p->nkernels * MAX_ROW_OPS ||
        h->object_bytes > size)
        return false;
    return size ==
           sizeof *h + h->kernels * 2 * sizeof(uint64_t) + h->ffts * sizeof(FftShape) + h->object_bytes;
}

static bool unpack(const char *data, const Header *h, Program *p, char **object, size_t *size) {
    const char *at = data + sizeof *h;
    if (!mem_grow(&p->ffts, &p->ffts_capacity, (size_t)h->ffts, sizeof *p->ffts)) return false;
    *size = (size_t)h->object_bytes;
    *object = mem_alloc(*size);
    if (!*object) return false;
    for (int k = 0; k < p->nkernels; k++, at += 2 * sizeof(uint64_t)) {
        uint64_t bytes[2];
        memcpy(bytes, at, sizeof bytes);
        p->kernels[k].scratch = (size_t)bytes[0];
        if (bytes[1]) program_prepare(p, k, (size_t)bytes[1]);
    }
    if (h->ffts) memcpy(p->ffts, at, (size_t)h->ffts * sizeof *p->ffts);
    p->nffts = (size_t)h->ffts;
    memcpy(*object, at + h->ffts * sizeof *p->ffts, *size);
    return true;
}

bool cache_load(const Text *key, Program *p, char **object, size_t *size) {
    Text path = {0};
    size_t bytes = 0;
    char *data = entry_path(key, &path) ? read_file(path.data, &bytes) : NULL;
    Header h;
    bool ok = data && bytes >= sizeof h;
    if (ok) {
        memcpy(&h, data, sizeof h);
        ok = header_fits(&h, key, p, bytes) && h.checksum == checksum_of(data + sizeof h, bytes - sizeof h) &&
             unpack(data, &h, p, object, size);
    }
    mem_free(data);
    text_free(&path);
    return ok;
}

void cache_store(const Text *key, const Program *p, const char *object, size_t size) {
    Text path = {0}, entry = {0};
    Header h = {.key = hash_bytes(3, key->data, key->len),
                .kernels = (uint64_t)p->nkernels,
                .ffts = p->nffts,
                .object_bytes = size};
    memcpy(h.magic, magic, sizeof magic);
    text_append(&entry, (const char *)&h, sizeof h);
    for (int k = 0; k < p->nkernels; k++) {
        uint64_t bytes[2] = {p->kernels[k].scratch, p->kernels[k].prepared};
        text_append(&entry, (const char *)bytes, sizeof bytes);
    }
    text_append(&entry, (const char *)p->ffts, p->nffts * sizeof *p->ffts);
    text_append(&entry, object, size);
    if (!entry.failed && entry_path(key, &path)) {
        h.checksum = checksum_of(entry.data + sizeof h, entry.len - sizeof h);
        memcpy(entry.data, &h, sizeof h);
        file_replace(path.data, entry.data, entry.len, NULL);
    }
    text_free(&path);
    text_free(&entry);
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
