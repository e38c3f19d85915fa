/* npy.c — NumPy's file format for one array (numpy.lib.format, NEP 1). See files.h.
 *
 * A file is "\x93NUMPY", two version bytes, the header's length (2 bytes in version 1, else 4), the header,
 * the data. The header is a Python literal, {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), },
 * padded with spaces so that the data is aligned. It is parsed by one small function per production; keys may
 * come in any order, each once. Files are written as version 1.0 in row-major order and the machine's byte
 * order, just as NumPy does.
 */
#include "files.h"
#include <inttypes.h>
#include <string.h>

static const char magic[] = "\x93NUMPY";

enum { PREFIX = 8, ALIGNMENT = 64, LONGEST_HEADER = 65535 };

/* ---- Header ---- */

typedef struct Header {
    const StoredType *stored;
    bool big_endian, fortran_order;
    FraxTensor tensor;
} Header;

typedef struct Cursor {
    const char *start, *p, *end;
    const char *path;
    FraxError *err;
} Cursor;

static FraxStatus expected(const Cursor *c, const char *what) {
    char got[16] = "the end";
    if (c->p < c->end && *c->p >= ' ' && *c->p <= '~')
        snprintf(got, sizeof got, "'%c'", *c->p);
    else if (c->p < c->end)
        snprintf(got, sizeof got, "byte 0x%02x", (unsigned char)*c->p);
    return fail(c->err, FRAX_FILE, "%s: malformed NPY header at character %td: expected %s, got %s", c->path,
                c->p - c->start, what, got);
}

static void skip_space(Cursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t' || *c->p == '\r')) c->p++;
}

static bool take(Cursor *c, char wanted) {
    skip_space(c);
    if (c->p == c->end || *c->p != wanted) return false;
    c->p++;
    return true;
}

/* string = "'" printable* "'" | '"' printable* '"'       (no escapes: none of our keys and types needs one)
 */
static FraxStatus parse_string(Cursor *c, char *out, size_t size) {
    char quote = take(c, '\'') ? '\'' : take(c, '"') ? '"' : 0;
    if (!quote) return expected(c, "a string");
    size_t n = 0;
    for (; c->p < c->end && *c->p != quote; c->p++) {
        if (*c->p < ' ' || *c->p > '~' || *c->p == '\\') return expected(c, "a printable ASCII character");
        if (n + 1 == size) return expected(c, "a shorter string");
        out[n++] = *c->p;
    }
    out[n] = '\0';
    return take(c, quote) ? FRAX_OK : expected(c, "a closing quote");
}

/* descr = string       with an optional byte order: '<' little, '>' big, '=' or '|' the machine's */
static FraxStatus parse_descr(Cursor *c, Header *h) {
    skip_space(c);
    if (c->p < c->end && (*c->p == '[' || *c->p == '('))
        return fail(c->err, FRAX_TYPE,
                    "%s: structured arrays are not supported; expected one number per element", c->path);
    char descr[32];
    FraxStatus status = parse_string(c, descr, sizeof descr);
    if (status) return status;
    bool has_order = descr[0] && strchr("<>=|", descr[0]);
    h->big_endian = descr[0] == '>' || (descr[0] != '<' && HOST_BIG_ENDIAN);
    h->stored = stored_by_npy(descr + has_order);
    if (h->stored) return FRAX_OK;
    Text known = {0};
    text_stored(&known, true);
    status = known.failed
                 ? fail_memory(c->err, "reading an array")
                 : fail(c->err, FRAX_TYPE, "%s: element type '%s' is not supported; expected one of %s",
                        c->path, descr, known.data);
    text_free(&known);
    return status;
}

/* fortran_order = 'True' | 'False' */
static FraxStatus parse_order(Cursor *c, Header *h) {
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"True", true}, {"False", false}};
    skip_space(c);
    for (size_t i = 0; i < COUNT(words); i++) {
        size_t n = strlen(words[i].word);
        if ((size_t)(c->end - c->p) < n || memcmp(c->p, words[i].word, n) != 0) continue;
        c->p += n;
        h->fortran_order = words[i].value;
        return FRAX_OK;
    }
    return expected(c, "True or False");
}

/* dimension = digit+ 'L'?       (Python 2 wrote the L) */
static FraxStatus parse_dimension(Cursor *c, int64_t *out) {
    skip_space(c);
    if (c->p == c->end || *c->p < '0' || *c->p > '9') return expected(c, "a size of 0 or more");
    int64_t v = 0;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        if (mul_overflows(v, 10, &v) || __builtin_add_overflow(v, *c->p - '0', &v))
            return fail(c->err, FRAX_FILE, "%s: a size in the NPY header overflows 64 bits", c->path);
    if (c->p < c->end && *c->p == 'L') c->p++;
    *out = v;
    return FRAX_OK;
}

/* shape = '(' (dimension ',')* dimension? ')' */
static FraxStatus parse_shape(Cursor *c, Header *h) {
    FraxTensor *t = &h->tensor;
    if (!take(c, '(')) return expected(c, "'('");
    bool separated = true;
    while (!take(c, ')')) {
        if (!separated) return expected(c, "',' or ')'");
        if (t->rank == FRAX_MAX_RANK)
            return fail(c->err, FRAX_SHAPE, "%s: the array has more than %d dimensions", c->path,
                        FRAX_MAX_RANK);
        FraxStatus status = parse_dimension(c, &t->dims[t->rank++]);
        if (status) return status;
        separated = take(c, ',');
    }
    return FRAX_OK;
}

/* header = '{' (key ':' value ',')* (key ':' value)? '}' */
static FraxStatus parse_header(Cursor *c, Header *h) {
    static const struct {
        const char *key;
        FraxStatus (*parse)(Cursor *, Header *);
    } fields[] = {{"descr", parse_descr}, {"fortran_order", parse_order}, {"shape", parse_shape}};
    bool seen[COUNT(fields)] = {0}, separated = true;
    if (!take(c, '{')) return expected(c, "'{'");
    while (!take(c, '}')) {
        if (!separated) return expected(c, "',' or '}'");
        char key[32];
        FraxStatus status = parse_string(c, key, sizeof key);
        if (status) return status;
        size_t f = 0;
        while (f < COUNT(fields) && strcmp(fields[f].key, key) != 0) f++;
        if (f == COUNT(fields) || seen[f])
            return fail(c->err, FRAX_FILE,
                        "%s: %s key '%s' in the NPY header; expected descr, fortran_order and shape", c->path,
                        f == COUNT(fields) ? "unknown" : "repeated", key);
        seen[f] = true;
        if (!take(c, ':')) return expected(c, "':'");
        if ((status = fields[f].parse(c, h))) return status;
        separated = take(c, ',');
    }
    for (size_t f = 0; f < COUNT(fields); f++)
        if (!seen[f])
            return fail(c->err, FRAX_FILE, "%s: no key '%s' in the NPY header", c->path, fields[f].key);
    skip_space(c);
    return c->p == c->end ? FRAX_OK : expected(c, "the end of the header");
}

static FraxStatus read_header(Source *source, Header *h, FraxError *err) {
    uint8_t prefix[PREFIX + 4];
    FraxStatus status = source_read(source, prefix, PREFIX, "the NPY signature", err);
    if (status) return status;
    if (memcmp(prefix, magic, sizeof magic - 1) != 0)
        return fail(err, FRAX_FILE, "%s: not an NPY file: it does not begin with \\x93NUMPY", source->path);
    unsigned major = prefix[6], minor = prefix[7];
    if (major < 1 || major > 3 || minor != 0)
        return fail(err, FRAX_FILE, "%s: NPY version %u.%u is not known; expected 1.0, 2.0 or 3.0",
                    source->path, major, minor);
    uint8_t *digits = prefix + PREFIX;
    size_t ndigits = major == 1 ? 2 : 4, length = 0;
    if ((status = source_read(source, digits, ndigits, "the length of the NPY header", err))) return status;
    for (size_t k = ndigits; k-- > 0;) length = length << 8 | digits[k];
    if (length > LONGEST_HEADER || length > source->left)
        return fail(err, FRAX_FILE, "%s: the NPY header claims %zu bytes; expected at most %" PRIu64,
                    source->path, length, MIN(source->left, (uint64_t)LONGEST_HEADER));

    char *text = mem_alloc(length);
    if (!text) return fail_memory(err, "reading an array");
    Cursor c = {text, text, text + length, source->path, err};
    status = source_read(source, text, length, "the NPY header", err);
    if (!status) status = parse_header(&c, h);
    mem_free(text);
    return status;
}

/* ---- Data ---- */

/* Column-major elements into row-major ones: walks the result in order, the source by its strides. */
static void reorder(const FraxTensor *t, const uint8_t *from, uint8_t *to) {
    int64_t size = (int64_t)frax_dtype_size(t->dtype), count = tensor_count(t);
    int64_t stride[FRAX_MAX_RANK], index[FRAX_MAX_RANK] = {0};
    for (int d = 0; d < t->rank; d++) stride[d] = d ? stride[d - 1] * t->dims[d - 1] : size;
    for (int64_t i = 0; i < count; i++, to += size) {
        memcpy(to, from, (size_t)size);
        for (int d = t->rank - 1; d >= 0; d--) {
            from += stride[d];
            if (++index[d] < t->dims[d]) break;
            from -= stride[d] * t->dims[d];
            index[d] = 0;
        }
    }
}

static FraxStatus from_fortran(FraxTensor *t, FraxError *err) {
    int64_t count = tensor_count(t);
    if (t->rank < 2 || count < 2) return FRAX_OK;
    void *ordered = mem_aligned((size_t)count * frax_dtype_size(t->dtype));
    if (!ordered) return fail_memory(err, "reordering an array");
    reorder(t, t->data, ordered);
    mem_free(t->data);
    t->data = ordered;
    return FRAX_OK;
}

/* The header, and whether the shape's data are there. */
static FraxStatus read_checked_header(Source *source, Header *h, int64_t *count, FraxError *err) {
    FraxStatus status = read_header(source, h, err);
    int64_t bytes;
    if (status) return status;
    h->tensor.dtype = h->stored->dtype;
    *count = tensor_count(&h->tensor);
    if (*count < 0 || mul_overflows(*count, h->stored->size, &bytes))
        return fail(err, FRAX_FILE, "%s: the shape in the NPY header overflows the address space",
                    source->path);
    if ((uint64_t)bytes != source->left)
        return fail(err, FRAX_FILE,
                    "%s: the NPY header promises %" PRId64 " bytes of data, the file holds %" PRIu64,
                    source->path, bytes, source->left);
    return FRAX_OK;
}

FraxStatus npy_read_source(Source *source, FraxTensor *out, FraxError *err) {
    *out = (FraxTensor){0};
    Header h = {0};
    int64_t count;
    FraxStatus status = read_checked_header(source, &h, &count, err);
    if (!status) status = payload_read(source, h.stored, h.big_endian, &h.tensor, err);
    if (!status && h.fortran_order) status = from_fortran(&h.tensor, err);
    if (status)
        tensor_free(&h.tensor);
    else
        *out = h.tensor;
    return status;
}

FraxStatus npy_parse(const char *path, const void *bytes, size_t n, FraxTensor *out, FraxError *err) {
    Source source = source_memory(path, bytes, n);
    return npy_read_source(&source, out, err);
}

FraxStatus npy_read(const char *path, FraxTensor *out, FraxError *err) {
    *out = (FraxTensor){0};
    Source source;
    FraxStatus status = source_open(path, &source, err);
    if (status) return status;
    status = npy_read_source(&source, out, err);
    source_close(&source);
    return status;
}

/* ---- Reading parts ---- */

FraxStatus npy_open(const char *path, NpyReader *reader, FraxError *err) {
    Header h = {0};
    *reader = (NpyReader){.file = {.fd = -1}};
    FraxStatus status = source_open(path, &reader->file, err);
    if (status) return status;
    uint64_t all = reader->file.left;
    status = read_checked_header(&reader->file, &h, &reader->elements.count, err);
    reader->elements.stored = h.stored;
    reader->elements.big_endian = h.big_endian;
    reader->fortran_order = h.fortran_order;
    reader->tensor = h.tensor;
    reader->start = (int64_t)(all - reader->file.left);
    if (status) npy_close(reader);
    return status;
}

void npy_close(NpyReader *reader) {
    if (reader->file.path) source_close(&reader->file);
    *reader = (NpyReader){0};
}

/* Steps first … first + count − 1 of an axis of n, with `outer` blocks before it and `inner` elements in a
 * step. */
typedef struct Part {
    int64_t outer, inner, n, first, count;
} Part;

static Part part_of(const FraxTensor *t, int axis, int64_t first, int64_t count) {
    Part part = {1, 1, t->dims[axis], first, count};
    for (int d = 0; d < axis; d++) part.outer *= t->dims[d];
    for (int d = axis + 1; d < t->rank; d++) part.inner *= t->dims[d];
    return part;
}

static FraxStatus read_blocks(NpyReader *reader, const Part *p, char *out, FraxError *err) {
    Elements run = reader->elements;
    run.count = p->count * p->inner;
    for (int64_t o = 0; o < p->outer; o++) {
        run.first = (o * p->n + p->first) * p->inner;
        Source section = source_section(&reader->file, reader->start + run.first * run.stored->size,
                                        (uint64_t)run.count * run.stored->size);
        FraxStatus status = payload_fill(&section, &run, out, err);
        if (status) return status;
        out += (size_t)run.count * frax_dtype_size(run.stored->dtype);
    }
    return FRAX_OK;
}

/* In column-major order the axes stand the other way round. */
FraxStatus npy_read_part(NpyReader *reader, int axis, int64_t first, int64_t count, void *out,
                         FraxError *err) {
    FraxTensor part = reader->tensor;
    Part p = part_of(&part, axis, first, count);
    part.dims[axis] = count;
    if (!reader->fortran_order) return read_blocks(reader, &p, out, err);
    p = (Part){p.inner, p.outer, p.n, first, count};
    void *columns = mem_alloc(MAX((size_t)tensor_count(&part) * frax_dtype_size(part.dtype), 1));
    if (!columns) return fail_memory(err, "reading an array");
    FraxStatus status = read_blocks(reader, &p, columns, err);
    if (!status) reorder(&part, columns, out);
    mem_free(columns);
    return status;
}

/* ---- Writing ---- */

void npy_header(Text *text, const FraxTensor *tensor) {
    const StoredType *stored = stored_by_dtype(tensor->dtype);
    char order = stored->size == 1 ? '|' : HOST_BIG_ENDIAN ? '>' : '<';
    Text dict = {0};
    text_printf(&dict, "{'descr': '%c%s', 'fortran_order': False, 'shape': (", order, stored->npy);
    for (int d = 0; d < tensor->rank; d++) text_printf(&dict, "%s%" PRId64, d ? ", " : "", tensor->dims[d]);
    text_printf(&dict, "%s), }", tensor->rank == 1 ? "," : "");

    size_t used = PREFIX + 2 + dict.len + 1, padding = (ALIGNMENT - used % ALIGNMENT) % ALIGNMENT;
    size_t length = dict.len + padding + 1; /* at most some 300 bytes, as the rank is limited */
    char prefix[PREFIX + 2] = {[6] = 1, [8] = (char)(length & 0xff), [9] = (char)(length >> 8)};
    memcpy(prefix, magic, sizeof magic - 1);
    text_append(text, prefix, sizeof prefix);
    text_printf(text, "%s%*s", dict.data ? dict.data : "", (int)padding + 1, "\n");
    text->failed |= dict.failed;
    text_free(&dict);
}

FraxStatus npy_write(const char *path, const FraxTensor *tensor, FraxError *err) {
    int64_t count = tensor_count(tensor);
    if (count < 0) return fail(err, FRAX_SHAPE, "cannot write '%s': the array's shape is not valid", path);
    Text header = {0};
    npy_header(&header, tensor);
    AtomicFile file = {0};
    FraxStatus status = header.failed ? fail_memory(err, "writing an array") : atomic_open(path, &file, err);
    if (!status) {
        atomic_write(&file, header.data, header.len);
        atomic_write(&file, tensor->data, (size_t)count * frax_dtype_size(tensor->dtype));
        status = atomic_commit(&file, err);
    }
    text_free(&header);
    return status;
}

/* ---- Writing parts ---- */

FraxStatus npy_create(const char *path, const FraxTensor *type, NpyWriter *writer, FraxError *err) {
    Text header = {0};
    *writer = (NpyWriter){.tensor = *type};
    if (tensor_count(type) < 0)
        return fail(err, FRAX_SHAPE, "cannot write '%s': the array's shape is not valid", path);
    npy_header(&header, type);
    FraxStatus status =
        header.failed ? fail_memory(err, "writing an array") : atomic_open(path, &writer->file, err);
    if (!status) atomic_write(&writer->file, header.data, header.len);
    writer->start = (int64_t)header.len;
    text_free(&header);
    return status;
}

FraxStatus npy_write_part(NpyWriter *writer, int axis, int64_t first, int64_t count, const void *data,
                          int64_t pitch, FraxError *err) {
    Part p = part_of(&writer->tensor, axis, first, count);
    int64_t step = p.inner * (int64_t)frax_dtype_size(writer->tensor.dtype);
    if (!writer->file.temporary && p.outer > 1)
        return fail(err, FRAX_FILE, "'%s' takes data in one go only, and the parts of axis %d lie apart",
                    writer->file.path, axis);
    for (int64_t o = 0; o < p.outer; o++) {
        FraxStatus status =
            atomic_write_at(&writer->file, writer->start + (o * p.n + first) * step,
                            (const char *)data + o * pitch * step, (size_t)(count * step), err);
        if (status) return status;
    }
    return FRAX_OK;
}

FraxStatus npy_finish(NpyWriter *writer, FraxError *err) {
    return atomic_commit(&writer->file, err);
}

void npy_abandon(NpyWriter *writer) {
    atomic_abandon(&writer->file);
}
