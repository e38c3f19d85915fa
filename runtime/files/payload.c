/* payload.c — where array bytes come from and how they become elements. See files.h.
 *
 * Elements are read straight into the tensor; only integers of another width pass through a small buffer.
 * Byte order and booleans (any byte but 0 is true; kernels rely on 0 and 1) are put right in place.
 */
#include "files.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Sources ---- */

static size_t read_fd(Source *source, void *buffer, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = read(source->fd, (char *)buffer + done, bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
    }
    return done;
}

static size_t read_memory(Source *source, void *buffer, size_t bytes) {
    if (bytes) memcpy(buffer, source->next, bytes);
    source->next += bytes;
    return bytes;
}

static size_t read_section(Source *source, void *buffer, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        ssize_t n = pread(source->fd, (char *)buffer + done, bytes - done, source->position);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
        source->position += n;
    }
    return done;
}

Source source_section(const Source *file, int64_t position, uint64_t bytes) {
    return (Source){
        .path = file->path, .left = bytes, .read = read_section, .fd = file->fd, .position = position};
}

Source source_memory(const char *path, const void *bytes, size_t n) {
    return (Source){.path = path, .left = n, .read = read_memory, .next = bytes, .fd = -1};
}

FraxStatus source_open(const char *path, Source *source, FraxError *err) {
    *source = (Source){.path = path, .read = read_fd};
    source->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hang */
    if (source->fd < 0) return fail(err, FRAX_FILE, "cannot read '%s': %s", path, strerror(errno));
    struct stat st;
    if (fstat(source->fd, &st) == 0 && S_ISREG(st.st_mode)) {
        source->left = (uint64_t)st.st_size;
        return FRAX_OK;
    }
    source_close(source);
    return fail(err, FRAX_FILE, "cannot read '%s': not a regular file", path);
}

void source_close(Source *source) {
    if (source->fd >= 0) close(source->fd);
    source->fd = -1;
}

FraxStatus source_read(Source *source, void *buffer, uint64_t n, const char *what, FraxError *err) {
    if (n > source->left)
        return fail(err, FRAX_FILE, "%s: truncated: %s takes %" PRIu64 " bytes, only %" PRIu64 " are left",
                    source->path, what, n, source->left);
    size_t got = source->read(source, buffer, (size_t)n);
    source->left -= got;
    if (got == n) return FRAX_OK;
    return fail(err, FRAX_FILE, "%s: cannot read %s: got %zu of %" PRIu64 " bytes", source->path, what, got,
                n);
}

/* ---- Element types ---- */

/* The first row of a dtype is the one that is written. NumPy has no bfloat16: ml_dtypes stores it as 2 opaque
 * bytes. */
static const StoredType stored_types[] = {
    {"f8", "F64", FRAX_F64, 8, STORED_AS_IS},    {"f4", "F32", FRAX_F32, 4, STORED_AS_IS},
    {"V2", "BF16", FRAX_BF16, 2, STORED_AS_IS},  {"bfloat16", "BF16", FRAX_BF16, 2, STORED_AS_IS},
    {"f2", "F16", FRAX_F16, 2, STORED_AS_IS},    {"i4", "I32", FRAX_I32, 4, STORED_AS_IS},
    {"b1", "BOOL", FRAX_BOOL, 1, STORED_AS_IS},  {"i1", "I8", FRAX_I32, 1, STORED_SIGNED},
    {"i2", "I16", FRAX_I32, 2, STORED_SIGNED},   {"i8", "I64", FRAX_I32, 8, STORED_SIGNED},
    {"u1", "U8", FRAX_I32, 1, STORED_UNSIGNED},  {"u2", "U16", FRAX_I32, 2, STORED_UNSIGNED},
    {"u4", "U32", FRAX_I32, 4, STORED_UNSIGNED}, {"u8", "U64", FRAX_I32, 8, STORED_UNSIGNED},
};

const StoredType *stored_by_npy(const char *name) {
    for (size_t i = 0; i < COUNT(stored_types); i++)
        if (strcmp(stored_types[i].npy, name) == 0) return &stored_types[i];
    return NULL;
}

const StoredType *stored_by_safetensors(const char *name) {
    for (size_t i = 0; i < COUNT(stored_types); i++)
        if (strcmp(stored_types[i].safetensors, name) == 0) return &stored_types[i];
    return NULL;
}

const StoredType *stored_by_dtype(FraxDType dtype) {
    for (size_t i = 0; i < COUNT(stored_types); i++)
        if (stored_types[i].dtype == dtype && stored_types[i].kind == STORED_AS_IS) return &stored_types[i];
    return NULL;
}

void text_stored(Text *text, bool npy) {
    for (size_t i = 0; i < COUNT(stored_types); i++) {
        const StoredType *s = &stored_types[i];
        if (!npy && i && strcmp(s->safetensors, s[-1].safetensors) == 0)
            continue; /* two names in NPY, one here */
        text_printf(text, "%s%s", i ? ", " : "", npy ? s->npy : s->safetensors);
    }
}

/* ---- Elements ---- */

void swap_bytes(void *data, int64_t count, size_t size) {
    uint8_t *p = data;
    if (size == 1) return;
    for (int64_t i = 0; i < count; i++, p += size)
        for (size_t a = 0, b = size - 1; a < b; a++, b--) {
            uint8_t t = p[a];
            p[a] = p[b], p[b] = t;
        }
}

static void normalise_bools(uint8_t *data, int64_t count) {
    for (int64_t i = 0; i < count; i++) data[i] = data[i] != 0;
}

static uint64_t load_unsigned(const uint8_t *p, size_t size, bool big_endian) {
    uint64_t v = 0;
    for (size_t k = 0; k < size; k++) v = v << 8 | p[big_endian ? k : size - 1 - k];
    return v;
}

/* One integer of the file into *out; false if it does not fit. */
static bool narrow(const StoredType *stored, uint64_t v, int32_t *out) {
    int unused = 64 - 8 * stored->size;
    int64_t s = (int64_t)(v << unused) >> unused;
    bool is_signed = stored->kind == STORED_SIGNED;
    *out = (int32_t)(is_signed ? s : (int64_t)v);
    return is_signed ? s >= INT32_MIN && s <= INT32_MAX : v <= INT32_MAX;
}

static FraxStatus fail_range(FraxError *err, const char *path, const StoredType *stored, int64_t i,
                             uint64_t v) {
    char number[32];
    if (stored->kind == STORED_SIGNED)
        snprintf(number, sizeof number, "%" PRId64, (int64_t)v);
    else
        snprintf(number, sizeof number, "%" PRIu64, v);
    return fail(err, FRAX_VALUE, "%s: element %" PRId64 " is %s, which does not fit in i32", path, i, number);
}

static FraxStatus read_integers(Source *source, const Elements *e, int32_t *out, FraxError *err) {
    uint8_t chunk[4096];
    const StoredType *stored = e->stored;
    int64_t per_chunk = (int64_t)(sizeof chunk / stored->size);
    for (int64_t i = 0; i < e->count;) {
        int64_t n = MIN(per_chunk, e->count - i);
        FraxStatus status = source_read(source, chunk, (uint64_t)n * stored->size, "the data", err);
        if (status) return status;
        for (int64_t k = 0; k < n; k++, i++) {
            uint64_t v = load_unsigned(chunk + k * stored->size, stored->size, e->big_endian);
            if (!narrow(stored, v, &out[i])) return fail_range(err, source->path, stored, e->first + i, v);
        }
    }
    return FRAX_OK;
}

FraxStatus payload_fill(Source *source, const Elements *e, void *data, FraxError *err) {
    if (e->stored->kind != STORED_AS_IS) return read_integers(source, e, data, err);
    FraxStatus status = source_read(source, data, (uint64_t)e->count * e->stored->size, "the data", err);
    if (!status && e->big_endian != HOST_BIG_ENDIAN) swap_bytes(data, e->count, e->stored->size);
    if (!status && e->stored->dtype == FRAX_BOOL) normalise_bools(data, e->count);
    return status;
}

FraxStatus payload_read(Source *source, const StoredType *stored, bool big_endian, FraxTensor *tensor,
                        FraxError *err) {
    int64_t count = tensor_count(tensor);
    if (count < 0 || (uint64_t)count > source->left / stored->size)
        return fail(err, FRAX_FILE,
                    "%s: truncated: the shape needs more data than the %" PRIu64 " bytes left", source->path,
                    source->left);
    tensor->data = mem_aligned((size_t)count * frax_dtype_size(tensor->dtype));
    if (!tensor->data) return fail_memory(err, "reading an array");
    FraxStatus status = payload_fill(source, &(Elements){stored, big_endian, 0, count}, tensor->data, err);
    if (status) mem_free(tensor->data), tensor->data = NULL;
    return status;
}
