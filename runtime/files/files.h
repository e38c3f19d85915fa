/* files.h — arrays in files: NPY, NPZ and safetensors, and files that are replaced whole or not at all.
 *
 * Every reader takes its bytes from a Source, which knows how many are left, so that one path serves a file,
 * a member of an archive and a buffer in memory. Input is hostile until proven otherwise: nothing is
 * allocated before the Source is known to hold the bytes that justify it. A failing function leaves *out
 * empty and fills *err with the path, what was found and what was expected: FRAX_FILE (malformed, truncated,
 * unreadable), FRAX_TYPE (an element type that frax lacks), FRAX_SHAPE (rank over FRAX_MAX_RANK), FRAX_VALUE
 * (an integer beyond i32), FRAX_NAME, FRAX_MEMORY.
 */
#ifndef FRAX_FILES_H
#define FRAX_FILES_H

#include "base.h"

/* ---- Tensors on the heap ---- */

/* The number of elements; -1 if rank or a dimension is out of range or the size in bytes overflows. */
int64_t tensor_count(const FraxTensor *tensor);
/* Frees data that a reader of this header allocated (64-byte aligned) and empties the tensor. */
void tensor_free(FraxTensor *tensor);

typedef struct NamedTensor {
    const char *name;
    FraxTensor tensor;
} NamedTensor;

typedef struct StringPair {
    const char *key, *value;
} StringPair;

/* What a file of several tensors holds. A reader's set owns everything in it (tensor_set_free); a writer only
   looks at items and metadata, which may then point anywhere. */
typedef struct TensorSet {
    NamedTensor *items;
    size_t count, cap;
    StringPair *metadata;
    size_t metadata_count, metadata_cap;
    Arena strings;
} TensorSet;

FraxTensor *tensor_set_find(const TensorSet *set, const char *name); /* NULL if there is none */
void tensor_set_free(TensorSet *set);

/* Of the names in the file at `path`, the index of `member`, or, if that is NULL, of the only name or of
   `preferred` (which may be NULL too). FRAX_NAME if there is none, with what the file holds and the nearest
   name. */
typedef struct Members {
    const char *path;
    const char *const *names;
    size_t count;
} Members;

FraxStatus member_choose(const Members *members, const char *member, const char *preferred, size_t *index,
                         FraxError *err);

/* ---- Sources of bytes ---- */

typedef struct Source {
    const char *path; /* for messages */
    uint64_t left;    /* bytes not yet read; trusted by the readers */
    size_t (*read)(struct Source *source, void *buffer, size_t bytes); /* fewer bytes mean an error */
    const uint8_t *next;
    void *handle;
    int fd;
    int64_t position; /* of a section: where in the file it goes on */
} Source;

FraxStatus source_open(const char *path, Source *source, FraxError *err); /* a regular file */
void source_close(Source *source);
Source source_memory(const char *path, const void *bytes, size_t n);
/* `bytes` bytes of an open file from `position` on; files stay open, and their own position where it was. */
Source source_section(const Source *file, int64_t position, uint64_t bytes);
/* Reads exactly n bytes; `what` names them in the message when they are not there. */
FraxStatus source_read(Source *source, void *buffer, uint64_t n, const char *what, FraxError *err);

/* An element type of the file formats: how it is named, and what it becomes. Integers other than i32 are
   converted to i32 with a check of their range, because NumPy's default integer is 64 bits wide. */
typedef struct StoredType {
    const char *npy, *safetensors;
    FraxDType dtype;
    uint8_t size;
    enum { STORED_AS_IS, STORED_SIGNED, STORED_UNSIGNED } kind;
} StoredType;

const StoredType *stored_by_npy(const char *name); /* NULL if unknown */
const StoredType *stored_by_safetensors(const char *name);
const StoredType *stored_by_dtype(FraxDType dtype);
/* Names of all types for messages, e.g. "F64, F32, …". */
void text_stored(Text *text, bool npy);

/* Allocates tensor->data for the shape and dtype already set and fills it with elements of type `stored`. */
FraxStatus payload_read(Source *source, const StoredType *stored, bool big_endian, FraxTensor *tensor,
                        FraxError *err);

/* The same into `data`, which has room for count elements; `first` is the number of the first, for messages.
 */
typedef struct Elements {
    const StoredType *stored;
    bool big_endian;
    int64_t first, count;
} Elements;

FraxStatus payload_fill(Source *source, const Elements *elements, void *data, FraxError *err);

#define HOST_BIG_ENDIAN (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
void swap_bytes(void *data, int64_t count, size_t size);

/* ---- Replacing a file whole ---- */

/* Output goes to a temporary file in the target's folder, which replaces the target on commit. A device or
   pipe is written directly (temporary is NULL). Symbolic links are followed, permissions of a replaced file
   kept. */
typedef struct AtomicFile {
    FILE *stream;
    char *path, *temporary;
    int error; /* errno of the first failed write */
} AtomicFile;

bool is_same_place(const char *a, const char *b); /* Do two paths name one file, or would they? */

/* Fails as atomic_open would, as far as that is known without making a file. */
FraxStatus atomic_check(const char *path, FraxError *err);
FraxStatus atomic_open(const char *path, AtomicFile *file, FraxError *err);
void atomic_write(AtomicFile *file, const void *bytes, size_t n); /* atomic_commit reports the failure */
/* At a place of the file. What is not a regular file takes bytes in their order alone. */
FraxStatus atomic_write_at(AtomicFile *file, int64_t position, const void *bytes, size_t n, FraxError *err);
/* Everything that may fail but the renaming; on failure the file is ended. */
FraxStatus atomic_settle(AtomicFile *file, FraxError *err);
/* Both end the file; on failure the target is untouched and the temporary gone. */
FraxStatus atomic_commit(AtomicFile *file, FraxError *err);
void atomic_abandon(AtomicFile *file);
FraxStatus file_replace(const char *path, const void *bytes, size_t n, FraxError *err);

/* ---- NPY (numpy.lib.format, versions 1.0 to 3.0) ---- */

FraxStatus npy_read(const char *path, FraxTensor *out, FraxError *err);
FraxStatus npy_parse(const char *path, const void *bytes, size_t n, FraxTensor *out, FraxError *err);
FraxStatus npy_read_source(Source *source, FraxTensor *out, FraxError *err);
FraxStatus npy_write(const char *path, const FraxTensor *tensor, FraxError *err);
/* Appends the header that stands before the tensor's data; check text->failed. */
void npy_header(Text *text, const FraxTensor *tensor);

/* ---- NPY in parts: arrays beyond memory, `count` steps along an axis at a time ---- */

typedef struct NpyReader {
    Source file;
    Elements elements; /* all */
    bool fortran_order;
    int64_t start;     /* of the data in the file */
    FraxTensor tensor; /* without data */
} NpyReader;

FraxStatus npy_open(const char *path, NpyReader *reader, FraxError *err);
/* Elements first … first + count − 1 along `axis` as a dense row-major array. */
FraxStatus npy_read_part(NpyReader *reader, int axis, int64_t first, int64_t count, void *out,
                         FraxError *err);
void npy_close(NpyReader *reader); /* a reader of zeros is fine */

typedef struct NpyWriter {
    AtomicFile file;
    FraxTensor tensor; /* without data */
    int64_t start;
} NpyWriter;

/* A file for an array of this type, row-major; parts may be written in any order if it is a regular file,
   else in the order of the file. npy_finish puts it in its place once all are written, npy_abandon drops it.
 */
FraxStatus npy_create(const char *path, const FraxTensor *type, NpyWriter *writer, FraxError *err);
/* `count` steps along `axis` from `first` on; data is row-major with `pitch` steps along the axis. */
FraxStatus npy_write_part(NpyWriter *writer, int axis, int64_t first, int64_t count, const void *data,
                          int64_t pitch, FraxError *err);
FraxStatus npy_finish(NpyWriter *writer, FraxError *err);
void npy_abandon(NpyWriter *writer); /* a writer of zeros is fine */

/* ---- NPZ: a zip archive of NPY members, stored or deflated ---- */

/* member NULL: the only one, or the one called `preferred` (may be NULL). */
FraxStatus npz_read(const char *path, const char *member, const char *preferred, FraxTensor *out,
                    FraxError *err);
/* Replaces the file by an archive of the tensors, at least one, with distinct names. */
FraxStatus npz_write(const char *path, const NamedTensor *items, size_t n, FraxError *err);

/* ---- safetensors (huggingface/safetensors, format 0.4) ---- */

FraxStatus safetensors_read(const char *path, TensorSet *out, FraxError *err);
FraxStatus safetensors_parse(const char *path, const void *bytes, size_t n, TensorSet *out, FraxError *err);
FraxStatus safetensors_write(const char *path, const TensorSet *set, FraxError *err);

/* ---- By extension ---- */

/* spec is FILE.npy, FILE.npz[:member] or FILE.safetensors[:member]; preferred as in npz_read. */
FraxStatus tensor_read(const char *spec, const char *preferred, FraxTensor *out, FraxError *err);
/* How much of a spec is the path: all but :member. */
size_t tensor_path_length(const char *spec);
/* Does a path end in a format that tensor_write knows? FRAX_USAGE if not. */
FraxStatus tensor_check_format(const char *path, FraxError *err);
/* name is the member's in formats that have several. */
FraxStatus tensor_write(const char *path, const char *name, const FraxTensor *tensor, FraxError *err);

#endif
