/* safetensors.c — named tensors in one file (huggingface/safetensors, format 0.4). See files.h.
 *
 * A file is the header's length (8 bytes, little-endian), the header (JSON, padded with spaces), the data:
 *     {"__metadata__": {"key": "text"}, "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}
 * The tensors must cover the data without holes or overlap. The header is read by one function per production
 * rather than into a JSON tree: memory then grows with the number of tensors, never with the number of JSON
 * values (a header of 100 MB may hold 50 million), integers are exact, and names that repeat or hide a NUL
 * are seen.
 */
#include "files.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char metadata_key[] = "__metadata__";

enum { LENGTH_BYTES = 8, LONGEST_HEADER = 100 * 1000 * 1000, ALIGNMENT = 8 };

/* ---- Header: scanner ---- */

typedef struct Entry {
    const char *name;
    const StoredType *stored;
    FraxTensor tensor;
    int64_t offsets[2];
} Entry;

typedef struct Scanner {
    const char *start, *p, *end;
    const char *path;
    TensorSet *set;
    Entry *entries;
    size_t count, cap;
    bool has_metadata;
    FraxError *err;
} Scanner;

static FraxStatus expected(const Scanner *s, const char *what) {
    char got[16] = "the end";
    if (s->p < s->end && *s->p >= ' ' && *s->p <= '~')
        snprintf(got, sizeof got, "'%c'", *s->p);
    else if (s->p < s->end)
        snprintf(got, sizeof got, "byte 0x%02x", (unsigned char)*s->p);
    return fail(s->err, FRAX_FILE, "%s: malformed safetensors header at byte %td: expected %s, got %s",
                s->path, s->p - s->start, what, got);
}

static void skip_space(Scanner *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r')) s->p++;
}

static bool take(Scanner *s, char wanted) {
    skip_space(s);
    if (s->p == s->end || *s->p != wanted) return false;
    s->p++;
    return true;
}

/* hex = 4 hexadecimal digits; -1 if they are not there */
static int32_t scan_hex(Scanner *s) {
    int32_t v = 0;
    for (int k = 0; k < 4; k++, s->p++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = s->p < s->end && *s->p ? strchr(digits, *s->p) : NULL;
        if (!digit) return -1;
        v = v << 4 | (int32_t)(digit - digits) % 16;
    }
    return v;
}

static char *put_utf8(char *to, int32_t code) {
    int extra = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    *to++ = (char)(lead[extra] | code >> 6 * extra);
    while (extra--) *to++ = (char)(0x80 | (code >> 6 * extra & 0x3f));
    return to;
}

/* escape = '\' ( one of "\/bfnrt | 'u' hex | a surrogate pair of the latter )     NUL is refused */
static FraxStatus scan_escape(Scanner *s, char **to) {
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    s->p++;
    const char *plain = s->p < s->end && *s->p ? strchr(from, *s->p) : NULL;
    if (plain) {
        *(*to)++ = into[plain - from];
        s->p++;
        return FRAX_OK;
    }
    if (s->p == s->end || *s->p++ != 'u') return expected(s, "an escape sequence");
    int32_t code = scan_hex(s);
    if (code >= 0xd800 && code < 0xdc00 && s->end - s->p >= 2 && s->p[0] == '\\' && s->p[1] == 'u') {
        s->p += 2;
        int32_t low = scan_hex(s);
        code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : -1;
    }
    if (code <= 0 || (code >= 0xd800 && code < 0xe000)) return expected(s, "a valid \\u escape");
    *to = put_utf8(*to, code);
    return FRAX_OK;
}

/* string = '"' (character | escape)* '"'     no control characters; never longer decoded than written */
static FraxStatus scan_string(Scanner *s, const char **out) {
    if (!take(s, '"')) return expected(s, "a string");
    const char *close = s->p;
    while (close < s->end && *close != '"') close += *close == '\\' && s->end - close > 1 ? 2 : 1;
    char *to = arena_alloc(&s->set->strings, (size_t)(close - s->p) + 1);
    if (!to) return fail_memory(s->err, "reading tensors");
    *out = to;
    while (s->p < s->end && *s->p != '"') {
        if ((unsigned char)*s->p < ' ') return expected(s, "no control character in a string");
        if (*s->p != '\\') {
            *to++ = *s->p++;
            continue;
        }
        FraxStatus status = scan_escape(s, &to);
        if (status) return status;
    }
    return take(s, '"') ? FRAX_OK : expected(s, "a closing quote");
}

/* name = string     without control characters even as escapes: names appear in messages on a terminal */
static FraxStatus scan_name(Scanner *s, const char **out) {
    FraxStatus status = scan_string(s, out);
    for (const char *p = *out; !status && *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            status = fail(s->err, FRAX_FILE, "%s: a name in the safetensors header holds a control character",
                          s->path);
    return status;
}

/* integer = '0' | ('1'…'9') digit* */
static FraxStatus scan_integer(Scanner *s, int64_t *out) {
    bool zero = take(s, '0');
    if (!zero && (s->p == s->end || *s->p < '1' || *s->p > '9'))
        return expected(s, "an integer of 0 or more");
    int64_t v = 0;
    for (; !zero && s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
        if (mul_overflows(v, 10, &v) || __builtin_add_overflow(v, *s->p - '0', &v))
            return fail(s->err, FRAX_FILE, "%s: an integer in the safetensors header overflows 64 bits",
                        s->path);
    *out = v;
    return FRAX_OK;
}

/* list = '[' (integer (',' integer)*)? ']' */
static FraxStatus scan_list(Scanner *s, int64_t *out, int most, int *n) {
    *n = 0;
    if (!take(s, '[')) return expected(s, "'['");
    if (take(s, ']')) return FRAX_OK;
    do {
        if (*n == most)
            return fail(s->err, FRAX_SHAPE, "%s: a list of more than %d integers in the safetensors header",
                        s->path, most);
        FraxStatus status = scan_integer(s, &out[(*n)++]);
        if (status) return status;
    } while (take(s, ','));
    return take(s, ']') ? FRAX_OK : expected(s, "',' or ']'");
}

/* ---- Header: entries ---- */

static FraxStatus scan_dtype(Scanner *s, Entry *e) {
    const char *name;
    FraxStatus status = scan_name(s, &name);
    if (status) return status;
    e->stored = stored_by_safetensors(name);
    if (e->stored) {
        e->tensor.dtype = e->stored->dtype;
        return FRAX_OK;
    }
    Text known = {0};
    text_stored(&known, false);
    status = known.failed
                 ? fail_memory(s->err, "reading tensors")
                 : fail(s->err, FRAX_TYPE, "%s: tensor '%.80s' has dtype '%.20s'; expected one of %s",
                        s->path, e->name, name, known.data);
    text_free(&known);
    return status;
}

static FraxStatus scan_shape(Scanner *s, Entry *e) {
    return scan_list(s, e->tensor.dims, FRAX_MAX_RANK, &e->tensor.rank);
}

static FraxStatus scan_offsets(Scanner *s, Entry *e) {
    int n;
    FraxStatus status = scan_list(s, e->offsets, 2, &n);
    if (status || n == 2) return status;
    return expected(s, "two data_offsets");
}

/* tensor = '{' field ',' field ',' field '}'; field = key ':' value, each key once */
static FraxStatus scan_tensor(Scanner *s, Entry *e) {
    static const struct {
        const char *key;
        FraxStatus (*scan)(Scanner *, Entry *);
    } fields[] = {{"dtype", scan_dtype}, {"shape", scan_shape}, {"data_offsets", scan_offsets}};
    bool seen[COUNT(fields)] = {0};
    if (!take(s, '{')) return expected(s, "'{'");
    for (size_t k = 0; k < COUNT(fields); k++) {
        const char *key;
        if (k && !take(s, ',')) return expected(s, "','");
        FraxStatus status = scan_name(s, &key);
        if (status) return status;
        size_t f = 0;
        while (f < COUNT(fields) && strcmp(fields[f].key, key) != 0) f++;
        if (f == COUNT(fields) || seen[f])
            return fail(s->err, FRAX_FILE,
                        "%s: tensor '%.80s' has %s key '%.40s'; expected dtype, shape and data_offsets",
                        s->path, e->name, f == COUNT(fields) ? "an unknown" : "a repeated", key);
        seen[f] = true;
        if (!take(s, ':')) return expected(s, "':'");
        if ((status = fields[f].scan(s, e))) return status;
    }
    return take(s, '}') ? FRAX_OK : expected(s, "'}'");
}

/* metadata = '{' (string ':' string (',' string ':' string)*)? '}' */
static FraxStatus scan_metadata(Scanner *s) {
    TensorSet *set = s->set;
    if (s->has_metadata) return fail(s->err, FRAX_FILE, "%s: __metadata__ is repeated", s->path);
    s->has_metadata = true;
    if (!take(s, '{')) return expected(s, "'{'");
    if (take(s, '}')) return FRAX_OK;
    do {
        if (!mem_grow(&set->metadata, &set->metadata_cap, set->metadata_count + 1, sizeof *set->metadata))
            return fail_memory(s->err, "reading tensors");
        StringPair *pair = &set->metadata[set->metadata_count];
        FraxStatus status = scan_name(s, &pair->key);
        if (!status && !take(s, ':')) status = expected(s, "':'");
        if (!status) status = scan_string(s, &pair->value);
        if (status) return status;
        set->metadata_count++;
    } while (take(s, ','));
    return take(s, '}') ? FRAX_OK : expected(s, "',' or '}'");
}

static FraxStatus scan_entry(Scanner *s) {
    const char *name;
    FraxStatus status = scan_name(s, &name);
    if (status) return status;
    if (!take(s, ':')) return expected(s, "':'");
    if (strcmp(name, metadata_key) == 0) return scan_metadata(s);
    if (!mem_grow(&s->entries, &s->cap, s->count + 1, sizeof *s->entries))
        return fail_memory(s->err, "reading tensors");
    s->entries[s->count] = (Entry){.name = name};
    return scan_tensor(s, &s->entries[s->count++]);
}

/* header = '{' (entry (',' entry)*)? '}' space* */
static FraxStatus scan_header(Scanner *s) {
    if (s->p == s->end || *s->p != '{') return expected(s, "'{'");
    s->p++;
    if (!take(s, '}')) {
        do {
            FraxStatus status = scan_entry(s);
            if (status) return status;
        } while (take(s, ','));
        if (!take(s, '}')) return expected(s, "',' or '}'");
    }
    skip_space(s);
    return s->p == s->end ? FRAX_OK : expected(s, "the end of the header");
}

/* ---- Checks and data ---- */

static int by_name(const void *a, const void *b) {
    return strcmp(((const Entry *)a)->name, ((const Entry *)b)->name);
}

static int by_offset(const void *a, const void *b) {
    const Entry *x = a, *y = b;
    for (int k = 0; k < 2; k++)
        if (x->offsets[k] != y->offsets[k]) return x->offsets[k] < y->offsets[k] ? -1 : 1;
    return by_name(a, b);
}

/* Names are distinct; in the order of their offsets the tensors cover [0, left) exactly. */
static FraxStatus check_entries(Scanner *s, uint64_t left) {
    if (s->count) qsort(s->entries, s->count, sizeof *s->entries, by_name);
    for (size_t i = 1; i < s->count; i++)
        if (strcmp(s->entries[i - 1].name, s->entries[i].name) == 0)
            return fail(s->err, FRAX_FILE, "%s: tensor '%.80s' is repeated", s->path, s->entries[i].name);
    if (s->count) qsort(s->entries, s->count, sizeof *s->entries, by_offset);
    int64_t end = 0;
    for (size_t i = 0; i < s->count; i++) {
        const Entry *e = &s->entries[i];
        int64_t count = tensor_count(&e->tensor), bytes;
        if (count < 0 || mul_overflows(count, e->stored->size, &bytes))
            return fail(s->err, FRAX_FILE, "%s: the shape of tensor '%.80s' overflows the address space",
                        s->path, e->name);
        if (e->offsets[0] != end || e->offsets[1] - e->offsets[0] != bytes)
            return fail(s->err, FRAX_FILE,
                        "%s: tensor '%.80s' has data_offsets [%" PRId64 ", %" PRId64 "]; expected [%" PRId64
                        ", %" PRId64 "] by its shape and the tensors before it",
                        s->path, e->name, e->offsets[0], e->offsets[1], end, end + bytes);
        end = e->offsets[1];
    }
    if ((uint64_t)end == left) return FRAX_OK;
    return fail(s->err, FRAX_FILE,
                "%s: the header describes %" PRId64 " bytes of data, the file holds %" PRIu64, s->path, end,
                left);
}

static FraxStatus read_data(Source *source, Scanner *s) {
    TensorSet *set = s->set;
    set->items = mem_calloc(s->count, sizeof *set->items);
    if (!set->items) return fail_memory(s->err, "reading tensors");
    set->cap = s->count;
    for (size_t i = 0; i < s->count; i++) {
        const Entry *e = &s->entries[i];
        char where[512];
        snprintf(where, sizeof where, "%.400s: tensor '%.80s'", s->path, e->name);
        NamedTensor *item = &set->items[set->count++];
        *item = (NamedTensor){e->name, e->tensor};
        source->path = where;
        FraxStatus status = payload_read(source, e->stored, false, &item->tensor, s->err);
        source->path = s->path;
        if (status) return status;
    }
    return FRAX_OK;
}

static FraxStatus read_source(Source *source, TensorSet *out, FraxError *err) {
    uint8_t digits[LENGTH_BYTES];
    FraxStatus status =
        source_read(source, digits, sizeof digits, "the length of the safetensors header", err);
    if (status) return status;
    uint64_t length = 0;
    for (int k = LENGTH_BYTES; k-- > 0;) length = length << 8 | digits[k];
    if (length > LONGEST_HEADER || length > source->left)
        return fail(err, FRAX_FILE,
                    "%s: not a safetensors file: the header claims %" PRIu64
                    " bytes; expected at most %" PRIu64,
                    source->path, length, MIN(source->left, (uint64_t)LONGEST_HEADER));

    char *text = mem_alloc((size_t)length);
    if (!text) return fail_memory(err, "reading tensors");
    Scanner s = {text, text, text + length, source->path, .set = out, .err = err};
    status = source_read(source, text, length, "the safetensors header", err);
    if (!status) status = scan_header(&s);
    mem_free(text);
    if (!status) status = check_entries(&s, source->left);
    if (!status) status = read_data(source, &s);
    mem_free(s.entries);
    if (status) tensor_set_free(out);
    return status;
}

FraxStatus safetensors_parse(const char *path, const void *bytes, size_t n, TensorSet *out, FraxError *err) {
    *out = (TensorSet){0};
    Source source = source_memory(path, bytes, n);
    return read_source(&source, out, err);
}

FraxStatus safetensors_read(const char *path, TensorSet *out, FraxError *err) {
    *out = (TensorSet){0};
    Source source;
    FraxStatus status = source_open(path, &source, err);
    if (status) return status;
    status = read_source(&source, out, err);
    source_close(&source);
    return status;
}

/* ---- Writing ---- */

static void put_string(Text *text, const char *s) {
    text_printf(text, "\"");
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == '"' || *s == '\\')
            text_printf(text, "\\u%04x", (unsigned char)*s);
        else
            text_append(text, s, 1);
    text_printf(text, "\"");
}

static void put_metadata(Text *text, const TensorSet *set) {
    text_printf(text, "\"%s\":{", metadata_key);
    for (size_t i = 0; i < set->metadata_count; i++) {
        if (i) text_printf(text, ",");
        put_string(text, set->metadata[i].key);
        text_printf(text, ":");
        put_string(text, set->metadata[i].value);
    }
    text_printf(text, "}");
}

static void put_entry(Text *text, const NamedTensor *item, int64_t begin, int64_t end) {
    const FraxTensor *t = &item->tensor;
    put_string(text, item->name);
    text_printf(text, ":{\"dtype\":\"%s\",\"shape\":[", stored_by_dtype(t->dtype)->safetensors);
    for (int d = 0; d < t->rank; d++) text_printf(text, "%s%" PRId64, d ? "," : "", t->dims[d]);
    text_printf(text, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", begin, end);
}

static FraxStatus check_set(const char *path, const TensorSet *set, FraxError *err) {
    for (size_t i = 0; i < set->count; i++) {
        const NamedTensor *item = &set->items[i];
        if (strcmp(item->name, metadata_key) == 0 || tensor_set_find(set, item->name) != &item->tensor)
            return fail(err, FRAX_NAME, "cannot write '%s': tensor name '%s' is %s", path, item->name,
                        strcmp(item->name, metadata_key) == 0 ? "reserved" : "repeated");
        if (tensor_count(&item->tensor) < 0)
            return fail(err, FRAX_SHAPE, "cannot write '%s': the shape of '%s' is not valid", path,
                        item->name);
    }
    return FRAX_OK;
}

/* The widest elements come first, which keeps every tensor aligned. Sets *order and appends the padded
 * header. */
static void put_header(Text *text, const TensorSet *set, size_t *order) {
    bool first = set->metadata_count == 0;
    int64_t end = 0;
    size_t n = 0;
    text_printf(text, "{");
    if (!first) put_metadata(text, set);
    for (size_t size = sizeof(double); size > 0; size /= 2)
        for (size_t i = 0; i < set->count; i++) {
            const FraxTensor *t = &set->items[i].tensor;
            if (frax_dtype_size(t->dtype) != size) continue;
            int64_t begin = end;
            end += tensor_count(t) * (int64_t)size;
            if (!first) text_printf(text, ",");
            first = false;
            put_entry(text, &set->items[i], begin, end);
            order[n++] = i;
        }
    text_printf(text, "}");
    while (!text->failed && text->len % ALIGNMENT) text_append(text, " ", 1);
}

static void write_little_endian(AtomicFile *file, const FraxTensor *t) {
    size_t size = frax_dtype_size(t->dtype), bytes = (size_t)tensor_count(t) * size;
    if (!HOST_BIG_ENDIAN) {
        atomic_write(file, t->data, bytes);
        return;
    }
    for (size_t done = 0, n; done < bytes; done += n) {
        uint8_t chunk[4096];
        n = MIN(sizeof chunk, bytes - done);
        memcpy(chunk, (const char *)t->data + done, n);
        swap_bytes(chunk, (int64_t)(n / size), size);
        atomic_write(file, chunk, n);
    }
}

FraxStatus safetensors_write(const char *path, const TensorSet *set, FraxError *err) {
    FraxStatus status = check_set(path, set, err);
    if (status) return status;
    Text header = {0};
    AtomicFile file;
    size_t *order = mem_alloc(set->count * sizeof *order);
    if (order) put_header(&header, set, order);
    if (!order || header.failed) {
        status = fail_memory(err, "writing tensors");
        goto done;
    }
    if ((status = atomic_open(path, &file, err))) goto done;
    uint8_t length[LENGTH_BYTES];
    for (int k = 0; k < LENGTH_BYTES; k++) length[k] = (uint8_t)((uint64_t)header.len >> 8 * k);
    atomic_write(&file, length, sizeof length);
    atomic_write(&file, header.data, header.len);
    for (size_t i = 0; i < set->count; i++) write_little_endian(&file, &set->items[order[i]].tensor);
    status = atomic_commit(&file, err);
done:
    text_free(&header);
    mem_free(order);
    return status;
}
