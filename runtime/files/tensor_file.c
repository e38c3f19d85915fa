/* tensor_file.c — tensors and sets of tensors on the heap, and the choice of the format by a file's
 * extension. See files.h.
 */
#include "files.h"
#include "ir.h"
#include <string.h>

/* ---- Tensors ---- */

int64_t tensor_count(const FraxTensor *tensor) {
    Shape shape = {.rank = tensor->rank};
    if (tensor->rank < 0 || tensor->rank > FRAX_MAX_RANK) return -1;
    memcpy(shape.dims, tensor->dims, (size_t)tensor->rank * sizeof shape.dims[0]);
    return shape_overflows(&shape) ? -1 : shape_size(&shape);
}

void tensor_free(FraxTensor *tensor) {
    mem_free(tensor->data);
    *tensor = (FraxTensor){0};
}

FraxTensor *tensor_set_find(const TensorSet *set, const char *name) {
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->items[i].name, name) == 0) return &set->items[i].tensor;
    return NULL;
}

void tensor_set_free(TensorSet *set) {
    for (size_t i = 0; i < set->count; i++) tensor_free(&set->items[i].tensor);
    mem_free(set->items);
    mem_free(set->metadata);
    arena_free(&set->strings);
    *set = (TensorSet){0};
}

/* ---- Members ---- */

static void text_names(Text *text, const char *const *names, size_t n) {
    enum { MOST = 12 };
    for (size_t i = 0; i < MIN(n, MOST); i++) text_printf(text, "%s%.40s", i ? ", " : "", names[i]);
    if (n > MOST) text_printf(text, " and %zu more", n - MOST);
}

static FraxStatus fail_member(const Members *m, const char *member, FraxError *err) {
    Text held = {0};
    text_names(&held, m->names, m->count);
    const char *near = member ? nearest_name(member, m->names, m->count) : NULL;
    FraxStatus status;
    if (held.failed)
        status = fail_memory(err, "looking for an array");
    else if (!m->count)
        status = fail(err, FRAX_NAME, "'%s' holds no array", m->path);
    else if (!member)
        status = fail(err, FRAX_NAME, "'%s' holds %zu arrays (%s): choose one as '%s:NAME'", m->path,
                      m->count, held.data, m->path);
    else
        status = fail(err, FRAX_NAME, "'%s' holds no array '%s'%s%s%s; it holds %s", m->path, member,
                      near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "", held.data);
    text_free(&held);
    return status;
}

FraxStatus member_choose(const Members *members, const char *member, const char *preferred, size_t *index,
                         FraxError *err) {
    const char *wanted = member ? member : preferred;
    *index = 0;
    if (!member && members->count == 1) return FRAX_OK;
    for (size_t i = 0; wanted && i < members->count; i++)
        if (strcmp(members->names[i], wanted) == 0) {
            *index = i;
            return FRAX_OK;
        }
    return fail_member(members, member, err);
}

/* ---- Formats by extension ---- */

static FraxStatus read_npy(const char *path, const char *member, const char *preferred, FraxTensor *out,
                           FraxError *err) {
    (void)preferred;
    if (member) return fail(err, FRAX_USAGE, "'%s' holds one array without a name; got ':%s'", path, member);
    return npy_read(path, out, err);
}

static FraxStatus read_safetensors(const char *path, const char *member, const char *preferred,
                                   FraxTensor *out, FraxError *err) {
    TensorSet set;
    FraxStatus status = safetensors_read(path, &set, err);
    if (status) return status;
    const char **names = mem_alloc(set.count * sizeof *names);
    if (!names) {
        status = fail_memory(err, "reading an array");
    } else {
        size_t index;
        for (size_t i = 0; i < set.count; i++) names[i] = set.items[i].name;
        status = member_choose(&(Members){path, names, set.count}, member, preferred, &index, err);
        if (!status) *out = set.items[index].tensor, set.items[index].tensor.data = NULL;
    }
    mem_free(names);
    tensor_set_free(&set);
    return status;
}

static FraxStatus write_npy(const char *path, const NamedTensor *item, FraxError *err) {
    return npy_write(path, &item->tensor, err);
}

static FraxStatus write_npz(const char *path, const NamedTensor *item, FraxError *err) {
    return npz_write(path, item, 1, err);
}

static FraxStatus write_safetensors(const char *path, const NamedTensor *item, FraxError *err) {
    NamedTensor copy = *item;
    return safetensors_write(path, &(TensorSet){.items = &copy, .count = 1}, err);
}

static const struct {
    const char *extension;
    FraxStatus (*read)(const char *path, const char *member, const char *preferred, FraxTensor *,
                       FraxError *);
    FraxStatus (*write)(const char *path, const NamedTensor *, FraxError *);
} formats[] = {
    {".npy", read_npy, write_npy},
    {".npz", npz_read, write_npz},
    {".safetensors", read_safetensors, write_safetensors},
};

static bool ends_with(const char *s, size_t n, const char *end) {
    size_t k = strlen(end);
    return n > k && memcmp(s + n - k, end, k) == 0;
}

static FraxStatus fail_extension(const char *path, FraxError *err) {
    return fail(err, FRAX_USAGE,
                "cannot tell the format of '%s': expected a name in .npy, .npz or .safetensors", path);
}

/* The format that the first n bytes of a path end in; COUNT(formats): none. */
static size_t find_format(const char *path, size_t n) {
    size_t f = 0;
    while (f < COUNT(formats) && !ends_with(path, n, formats[f].extension)) f++;
    return f;
}

/* A colon separates a member only after a known extension, so that paths may hold colons. */
size_t tensor_path_length(const char *spec) {
    size_t length = strlen(spec);
    if (find_format(spec, length) < COUNT(formats)) return length;
    for (const char *colon = strchr(spec, ':'); colon; colon = strchr(colon + 1, ':'))
        if (find_format(spec, (size_t)(colon - spec)) < COUNT(formats)) return (size_t)(colon - spec);
    return length;
}

FraxStatus tensor_read(const char *spec, const char *preferred, FraxTensor *out, FraxError *err) {
    *out = (FraxTensor){0};
    size_t n = tensor_path_length(spec), f = find_format(spec, n);
    if (f == COUNT(formats)) return fail_extension(spec, err);
    if (!spec[n]) return formats[f].read(spec, NULL, preferred, out, err);
    char *path = mem_strdup(spec);
    if (!path) return fail_memory(err, "reading an array");
    path[n] = '\0';
    FraxStatus status = formats[f].read(path, spec + n + 1, preferred, out, err);
    mem_free(path);
    return status;
}

FraxStatus tensor_check_format(const char *path, FraxError *err) {
    return find_format(path, strlen(path)) < COUNT(formats) ? FRAX_OK : fail_extension(path, err);
}

FraxStatus tensor_write(const char *path, const char *name, const FraxTensor *tensor, FraxError *err) {
    FraxStatus status = tensor_check_format(path, err);
    if (status) return status;
    return formats[find_format(path, strlen(path))].write(path, &(NamedTensor){name, *tensor}, err);
}
