/* npz.c — NumPy's archives of named arrays: a zip file whose member NAME.npy is an NPY file. See files.h.
 *
 * libzip checks the archive's structure. Beyond that a member must not claim more bytes than its compressed
 * form can give (deflate expands at most 1032 times), because the NPY reader allocates what its Source claims
 * to hold; and it must end where it says, with the right checksum. Archives are written stored, with fixed
 * dates: the same arrays give the same bytes.
 */
#include "files.h"
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

static const char suffix[] = ".npy";

enum { SUFFIX = sizeof suffix - 1, DEFLATE_RATIO = 1032 };

/* ---- Reading ---- */

typedef struct Archive {
    zip_t *zip;
    const char *path;
    uint64_t size;
    const char **names; /* without .npy, in `strings` */
    uint64_t *entries;
    size_t count;
    Arena strings;
} Archive;

static FraxStatus fail_zip(FraxError *err, const char *path, zip_error_t *error) {
    if (zip_error_code_zip(error) == ZIP_ER_MEMORY) return fail_memory(err, "reading an archive");
    return fail(err, FRAX_FILE, "cannot read '%s': %s", path, zip_error_strerror(error));
}

static FraxStatus archive_open(const char *path, Archive *a, FraxError *err) {
    *a = (Archive){.path = path};
    Source source;
    FraxStatus status = source_open(path, &source, err);
    if (status) return status;
    a->size = source.left;
    int code;
    a->zip = zip_fdopen(source.fd, 0, &code); /* takes the descriptor over when it succeeds */
    if (a->zip) return FRAX_OK;
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    status = fail_zip(err, path, &error);
    zip_error_fini(&error);
    source_close(&source);
    return status;
}

static void archive_close(Archive *a) {
    if (a->zip) zip_discard(a->zip);
    mem_free(a->names);
    mem_free(a->entries);
    arena_free(&a->strings);
}

/* Names appear in messages of one line; libzip itself turns most control characters into symbols. */
static bool is_printable(const char *name) {
    for (; *name; name++)
        if ((unsigned char)*name < ' ' || *name == 127) return false;
    return true;
}

static FraxStatus archive_list(Archive *a, FraxError *err) {
    size_t n = (size_t)MAX(zip_get_num_entries(a->zip, 0), 0);
    a->names = mem_alloc(n * sizeof *a->names);
    a->entries = mem_alloc(n * sizeof *a->entries);
    if (!a->names || !a->entries) return fail_memory(err, "reading an archive");
    for (size_t i = 0; i < n; i++) {
        const char *name = zip_get_name(a->zip, i, 0);
        size_t length = name ? strlen(name) : 0;
        if (length <= SUFFIX || strcmp(name + length - SUFFIX, suffix) != 0) continue;
        if (!is_printable(name))
            return fail(err, FRAX_FILE, "%s: the name of member %zu holds a control character", a->path, i);
        char *kept = arena_strndup(&a->strings, name, length - SUFFIX);
        if (!kept) return fail_memory(err, "reading an archive");
        a->names[a->count] = kept;
        a->entries[a->count++] = i;
    }
    return FRAX_OK;
}

static size_t read_member(Source *source, void *buffer, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        zip_int64_t n = zip_fread(source->handle, (char *)buffer + done, bytes - done);
        if (n <= 0) break;
        done += (size_t)n;
    }
    return done;
}

/* The bytes that an entry may claim to hold, given its compressed size. */
static FraxStatus check_entry(const Archive *a, const zip_stat_t *st, FraxError *err) {
    zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    bool known = (st->valid & needed) == needed;
    if (known && st->comp_method != ZIP_CM_STORE && st->comp_method != ZIP_CM_DEFLATE)
        return fail(err, FRAX_FILE, "%s: compression method %u is not supported; expected stored or deflated",
                    a->path, st->comp_method);
    bool stored = known && st->comp_method == ZIP_CM_STORE;
    if (!known || st->comp_size > a->size || (stored && st->size != st->comp_size) ||
        st->size / DEFLATE_RATIO > st->comp_size)
        return fail(err, FRAX_FILE,
                    "%s: a member claims sizes that the archive of %" PRIu64 " bytes cannot hold", a->path,
                    a->size);
    return FRAX_OK;
}

static FraxStatus read_entry(Archive *a, size_t index, FraxTensor *out, FraxError *err) {
    uint64_t entry = a->entries[index];
    zip_stat_t st;
    if (zip_stat_index(a->zip, entry, 0, &st) != 0) return fail_zip(err, a->path, zip_get_error(a->zip));
    FraxStatus status = check_entry(a, &st, err);
    if (status) return status;
    zip_file_t *file = zip_fopen_index(a->zip, entry, 0);
    if (!file) return fail_zip(err, a->path, zip_get_error(a->zip));

    char where[512];
    snprintf(where, sizeof where, "%.400s:%.80s", a->path, a->names[index]);
    Source source = {.path = where, .left = st.size, .read = read_member, .handle = file, .fd = -1};
    char beyond;
    status = npy_read_source(&source, out, err);
    if (!status && zip_fread(file, &beyond, 1) != 0) { /* reading to the end is what checks the sum */
        status = fail(err, FRAX_FILE, "%s: damaged: wrong length or checksum", where);
        tensor_free(out);
    }
    zip_fclose(file);
    return status;
}

FraxStatus npz_read(const char *path, const char *member, const char *preferred, FraxTensor *out,
                    FraxError *err) {
    *out = (FraxTensor){0};
    Archive a;
    FraxStatus status = archive_open(path, &a, err);
    if (status) return status;
    size_t index;
    status = archive_list(&a, err);
    if (!status) status = member_choose(&(Members){path, a.names, a.count}, member, preferred, &index, err);
    if (!status) status = read_entry(&a, index, out, err);
    archive_close(&a);
    return status;
}

/* ---- Writing ---- */

static FraxStatus fail_add(FraxError *err, const char *path, const char *name, zip_t *zip) {
    zip_error_t *error = zip_get_error(zip);
    if (zip_error_code_zip(error) == ZIP_ER_EXISTS)
        return fail(err, FRAX_NAME, "cannot write '%s': array name '%s' is repeated", path, name);
    if (zip_error_code_zip(error) == ZIP_ER_MEMORY) return fail_memory(err, "writing an archive");
    return fail(err, FRAX_FILE, "cannot write '%s': %s", path, zip_error_strerror(error));
}

/* The header's text must live until the archive is closed, as the data must. */
static FraxStatus add_member(zip_t *zip, const char *path, const NamedTensor *item, Text *header,
                             FraxError *err) {
    int64_t count = tensor_count(&item->tensor);
    if (count < 0)
        return fail(err, FRAX_SHAPE, "cannot write '%s': the shape of '%s' is not valid", path, item->name);
    npy_header(header, &item->tensor);
    Text name = {0};
    text_printf(&name, "%s%s", item->name, suffix);
    if (header->failed || name.failed) {
        text_free(&name);
        return fail_memory(err, "writing an archive");
    }
    zip_buffer_fragment_t parts[] = {
        {(zip_uint8_t *)header->data, header->len},
        {item->tensor.data, (zip_uint64_t)count * frax_dtype_size(item->tensor.dtype)},
    };
    zip_source_t *source = zip_source_buffer_fragment(zip, parts, count ? 2 : 1, 0);
    zip_int64_t entry = source ? zip_file_add(zip, name.data, source, ZIP_FL_ENC_UTF_8) : -1;
    text_free(&name);
    if (entry < 0) {
        FraxStatus status = fail_add(err, path, item->name, zip);
        zip_source_free(source);
        return status;
    }
    enum { FIRST_OF_1980 = 1 << 5 | 1 };
    zip_set_file_compression(zip, (zip_uint64_t)entry, ZIP_CM_STORE, 0);
    zip_file_set_dostime(zip, (zip_uint64_t)entry, 0, FIRST_OF_1980, 0);
    return FRAX_OK;
}

/* libzip writes to a name rather than a stream: it replaces our temporary file, which is then renamed
   (whole as ever, but not synced: only libzip had it open). */
static FraxStatus write_archive(const char *path, const char *temporary, const NamedTensor *items, size_t n,
                                FraxError *err) {
    int code;
    zip_t *zip = zip_open(temporary, ZIP_CREATE | ZIP_TRUNCATE, &code);
    if (!zip) return fail(err, FRAX_FILE, "cannot write '%s': libzip error %d", path, code);
    Text *headers = mem_calloc(n, sizeof *headers);
    FraxStatus status = headers ? FRAX_OK : fail_memory(err, "writing an archive");
    for (size_t i = 0; i < n && !status; i++) status = add_member(zip, path, &items[i], &headers[i], err);
    if (!status && zip_close(zip) == 0)
        zip = NULL;
    else if (!status)
        status = fail_add(err, path, "", zip);
    if (zip) zip_discard(zip);
    for (size_t i = 0; headers && i < n; i++) text_free(&headers[i]);
    mem_free(headers);
    return status;
}

FraxStatus npz_write(const char *path, const NamedTensor *items, size_t n, FraxError *err) {
    if (!n) return fail(err, FRAX_USAGE, "cannot write '%s': an archive needs at least one array", path);
    AtomicFile file;
    FraxStatus status = atomic_open(path, &file, err);
    if (status) return status;
    if (file.temporary)
        status = write_archive(path, file.temporary, items, n, err);
    else
        status = fail(err, FRAX_FILE, "cannot write '%s': an archive needs a regular file", path);
    if (!status) return atomic_commit(&file, err);
    atomic_abandon(&file);
    return status;
}
