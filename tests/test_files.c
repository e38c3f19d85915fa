/* test_files.c — NPY, NPZ, safetensors and files replaced whole.
 *
 * What NumPy and safetensors write stands here as literal bytes, so that reader and writer cannot be wrong
 * alike. Malformed files are tables of short headers, each with the status and a word that the message must
 * hold. Failing allocations are injected one after another until a call succeeds; the leak check of the
 * sanitizers does the rest.
 */
#include "files.h"
#include "half.h"
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>
#include <cmocka.h>

static char folder[PATH_MAX];

/* ---- Helpers ---- */

/* One buffer a call site would do, but messages use two paths at most. */
static const char *in_folder(const char *name) {
    static char paths[2][PATH_MAX + NAME_MAX + 2];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static size_t count_entries(const char *path) {
    DIR *dir = opendir(path);
    size_t n = 0;
    assert_non_null(dir);
    while (readdir(dir)) n++;
    closedir(dir);
    return n;
}

static void assert_same_tensor(const FraxTensor *a, const FraxTensor *b) {
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->rank, b->rank);
    for (int d = 0; d < a->rank; d++) assert_int_equal(a->dims[d], b->dims[d]);
    size_t bytes = (size_t)tensor_count(a) * frax_dtype_size(a->dtype);
    if (bytes) assert_memory_equal(a->data, b->data, bytes);
}

enum { ELEMENTS = 24, DTYPES = 6 };

/* Shapes of up to 24 elements, empty and scalar among them. */
static const FraxTensor shapes[] = {
    {.rank = 0},
    {.rank = 1, .dims = {24}},
    {.rank = 2, .dims = {4, 5}},
    {.rank = 3, .dims = {2, 0, 3}},
    {.rank = 8, .dims = {1, 2, 1, 3, 1, 2, 2, 1}},
};

/* Distinct values that every dtype holds exactly. */
static FraxTensor sample(FraxDType dtype, const FraxTensor *shape) {
    static _Alignas(64) uint8_t data[DTYPES][ELEMENTS * sizeof(double)];
    FraxTensor t = *shape;
    t.dtype = dtype;
    t.data = data[dtype];
    for (int i = 0; i < ELEMENTS; i++)
        element_set(t.data, dtype, i,
                    dtype == FRAX_BOOL  ? i % 3 == 0
                    : dtype == FRAX_I32 ? i - 7
                                        : (i - 7) / 4.0);
    return t;
}

/* An NPY file in memory: version 1.0 with the given header text and data. */
static size_t npy_bytes(uint8_t *to, const char *header, const void *data, size_t n) {
    size_t length = strlen(header);
    memcpy(to, "\x93NUMPY\1", 8);
    to[8] = (uint8_t)length, to[9] = (uint8_t)(length >> 8);
    memcpy(to + 10, header, length);
    if (n) memcpy(to + 10 + length, data, n);
    return 10 + length + n;
}

static size_t safetensors_bytes(uint8_t *to, const char *header, size_t n) {
    size_t length = strlen(header);
    memset(to, 0, 8 + length + n);
    to[0] = (uint8_t)length, to[1] = (uint8_t)(length >> 8);
    memcpy(to + 8, header, length);
    return 8 + length + n;
}

static void assert_failure(FraxStatus status, FraxStatus wanted, const FraxError *err, const char *word) {
    if (status != wanted || !strstr(err->message, word))
        fail_msg("got status %d '%s'; expected %d with '%s'", status, err->message, wanted, word);
    assert_int_equal(err->status, wanted);
}

/* ---- NPY ---- */

static void test_npy_round_trip(void **state) {
    (void)state;
    for (int dtype = 0; dtype < DTYPES; dtype++)
        for (size_t s = 0; s < COUNT(shapes); s++) {
            FraxTensor t = sample((FraxDType)dtype, &shapes[s]), back;
            FraxError err;
            assert_int_equal(npy_write(in_folder("a.npy"), &t, &err), FRAX_OK);
            assert_int_equal(npy_read(in_folder("a.npy"), &back, &err), FRAX_OK);
            assert_same_tensor(&t, &back);
            assert_int_equal((uintptr_t)back.data % 64, 0);
            tensor_free(&back);
        }
}

/* numpy.save of numpy.array([[1.5, -2.0]], dtype='<f4'), byte for byte. */
static void test_npy_as_numpy_writes_it(void **state) {
    (void)state;
    uint8_t wanted[256], got[256];
    float values[] = {1.5f, -2.0f};
    char header[119];
    snprintf(header, sizeof header, "%-117s\n",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }");
    size_t n = npy_bytes(wanted, header, values, sizeof values);
    FraxTensor t = {FRAX_F32, 2, {1, 2}, values};
    assert_int_equal(npy_write(in_folder("b.npy"), &t, NULL), FRAX_OK);
    FILE *f = fopen(in_folder("b.npy"), "rb");
    assert_non_null(f);
    assert_int_equal(fread(got, 1, sizeof got, f), n);
    fclose(f);
    if (!HOST_BIG_ENDIAN) assert_memory_equal(got, wanted, n);
}

typedef struct NpyCase {
    const char *header, *data;
    size_t n;
    FraxDType dtype;
    double first, last;
} NpyCase;

#define DICT(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }\n"
#define DATA(literal)             literal, sizeof literal - 1

static const NpyCase npy_good[] = {
    {DICT("'>f8'", "False", "(1,)"), DATA("\x3f\xf8\0\0\0\0\0\0"), FRAX_F64, 1.5, 1.5},
    {DICT("'<f8'", "False", "()"), DATA("\0\0\0\0\0\0\xf8\x3f"), FRAX_F64, 1.5, 1.5},
    {DICT("'>f4'", "False", "(2,)"), DATA("\x3f\xc0\0\0\xc0\0\0\0"), FRAX_F32, 1.5, -2},
    {DICT("'>f2'", "False", "(2,)"), DATA("\x3c\0\xc0\0"), FRAX_F16, 1, -2},
    {DICT("'<V2'", "False", "(2,)"), DATA("\xc0\x3f\0\xc0"), FRAX_BF16, 1.5, -2},
    {DICT("'|V2'", "False", "(1,)"), DATA("\xc0\x3f"), FRAX_BF16, 1.5, 1.5},
    {DICT("'bfloat16'", "False", "(1,)"), DATA("\xc0\x3f"), FRAX_BF16, 1.5, 1.5},
    {DICT("'>i4'", "False", "(2,)"), DATA("\0\0\1\2\xff\xff\xff\xfe"), FRAX_I32, 258, -2},
    {DICT("'|b1'", "False", "(3,)"), DATA("\7\0\0"), FRAX_BOOL, 1, 0},
    {DICT("'<i8'", "False", "(2,)"), DATA("\xff\xff\xff\x7f\0\0\0\0\0\0\0\x80\xff\xff\xff\xff"), FRAX_I32,
     2147483647.0, -2147483648.0},
    {DICT("'>i8'", "False", "(1,)"), DATA("\0\0\0\0\0\0\1\2"), FRAX_I32, 258, 258},
    {DICT("'|i1'", "False", "(2,)"), DATA("\x80\x7f"), FRAX_I32, -128, 127},
    {DICT("'>i2'", "False", "(2,)"), DATA("\x80\0\1\2"), FRAX_I32, -32768, 258},
    {DICT("'|u1'", "False", "(2,)"), DATA("\xff\1"), FRAX_I32, 255, 1},
    {DICT("'<u2'", "False", "(1,)"), DATA("\xff\xff"), FRAX_I32, 65535, 65535},
    {DICT("'<u4'", "False", "(1,)"), DATA("\xff\xff\xff\x7f"), FRAX_I32, 2147483647.0, 2147483647.0},
    {DICT("'>u8'", "False", "(1,)"), DATA("\0\0\0\0\0\0\0\3"), FRAX_I32, 3, 3},
    {"{\"shape\":(2L,),\"fortran_order\":False,\"descr\":\"|i1\"}", DATA("\1\2"), FRAX_I32, 1, 2},
};

static void test_npy_byte_orders_and_widths(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(npy_good); i++) {
        const NpyCase *c = &npy_good[i];
        uint8_t bytes[512];
        size_t n = npy_bytes(bytes, c->header, c->data, c->n);
        FraxTensor t;
        FraxError err = {0};
        if (npy_parse("x.npy", bytes, n, &t, &err)) fail_msg("%s: %s", c->header, err.message);
        assert_int_equal(t.dtype, c->dtype);
        if (t.dtype == FRAX_BOOL) assert_true(*(uint8_t *)t.data == 1);
        assert_true(element_get(t.data, t.dtype, 0) == c->first);
        assert_true(element_get(t.data, t.dtype, tensor_count(&t) - 1) == c->last);
        tensor_free(&t);
    }
}

static void test_npy_versions_2_and_3(void **state) {
    (void)state;
    const char *header = DICT("'|i1'", "False", "(2,)");
    for (uint8_t version = 2; version <= 3; version++) {
        uint8_t bytes[256] = "\x93NUMPY";
        bytes[6] = version, bytes[8] = (uint8_t)strlen(header);
        memcpy(bytes + 12, header, strlen(header));
        memcpy(bytes + 12 + strlen(header), "\5\6", 2);
        FraxTensor t;
        assert_int_equal(npy_parse("x.npy", bytes, 12 + strlen(header) + 2, &t, NULL), FRAX_OK);
        assert_int_equal(((int32_t *)t.data)[1], 6);
        tensor_free(&t);
    }
}

static void test_npy_fortran_order(void **state) {
    (void)state;
    int32_t column_major[24];
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 3; b++)
            for (int c = 0; c < 4; c++) column_major[a + 2 * (b + 3 * c)] = 100 * a + 10 * b + c;
    uint8_t bytes[512];
    size_t n = npy_bytes(bytes, DICT("'=i4'", "True", "(2, 3, 4)"), column_major, sizeof column_major);
    FraxTensor t;
    assert_int_equal(npy_parse("x.npy", bytes, n, &t, NULL), FRAX_OK);
    for (int i = 0; i < 24; i++)
        assert_int_equal(((int32_t *)t.data)[i], i / 12 * 100 + i / 4 % 3 * 10 + i % 4);
    tensor_free(&t);
}

static const struct {
    const char *header;
    size_t n; /* bytes of data, all zero */
    FraxStatus status;
    const char *word;
} npy_bad[] = {
    {"", 0, FRAX_FILE, "expected '{'"},
    {"{}", 0, FRAX_FILE, "no key 'descr'"},
    {DICT("'<f8'", "False", "(2,)"), 15, FRAX_FILE, "promises 16 bytes of data, the file holds 15"},
    {DICT("'<f8'", "False", "(2,)"), 17, FRAX_FILE, "the file holds 17"},
    {DICT("'<f8'", "False", "(9999999999999,)"), 8, FRAX_FILE, "promises"},
    {DICT("'<f8'", "False", "(4294967296, 4294967296)"), 8, FRAX_FILE, "overflows"},
    {DICT("'<f8'", "False", "(0, 4294967296, 4294967296)"), 0, FRAX_FILE, "overflows"},
    {DICT("'<f8'", "False", "(99999999999999999999,)"), 8, FRAX_FILE, "overflows"},
    {DICT("'<f8'", "False", "(-1,)"), 8, FRAX_FILE, "size of 0 or more, got '-'"},
    {DICT("'<f8'", "False", "(1.5,)"), 8, FRAX_FILE, "',' or ')'"},
    {DICT("'<f8'", "False", "(1,,)"), 8, FRAX_FILE, "size"},
    {DICT("'<f8'", "False", "1"), 8, FRAX_FILE, "expected '('"},
    {DICT("'<f8'", "False", "(1,1,1,1,1,1,1,1,1)"), 8, FRAX_SHAPE, "more than 8"},
    {DICT("'<f8'", "0", "(1,)"), 8, FRAX_FILE, "True or False"},
    {DICT("'<c16'", "False", "(1,)"), 16, FRAX_TYPE, "element type '<c16' is not supported"},
    {DICT("'|O'", "False", "(1,)"), 8, FRAX_TYPE, "'|O'"},
    {DICT("''", "False", "(1,)"), 8, FRAX_TYPE, "''"},
    {DICT("[('a', '<f8')]", "False", "(1,)"), 8, FRAX_TYPE, "structured"},
    {DICT("'<f8\\x'", "False", "(1,)"), 8, FRAX_FILE, "printable"},
    {DICT("'<f8\x1b'", "False", "(1,)"), 8, FRAX_FILE, "byte 0x1b"},
    {DICT("'a type with a very long name indeed'", "False", "(1,)"), 8, FRAX_FILE, "shorter"},
    {"{'descr': '<f8', 'descr': '<f8', 'shape': (), 'fortran_order': False}", 8, FRAX_FILE,
     "repeated key 'descr'"},
    {"{'descr': '<f8', 'shape': (), 'fortran_order': False, 'x': 1}", 8, FRAX_FILE, "unknown key 'x'"},
    {"{'descr' '<f8'}", 8, FRAX_FILE, "expected ':'"},
    {"{'descr': '<f8'", 8, FRAX_FILE, "got the end"},
    {"{'descr': '<f8", 8, FRAX_FILE, "closing quote"},
    {DICT("'<f8'", "False", "(1,)") "x", 8, FRAX_FILE, "end of the header"},
};

static void test_npy_malformed(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(npy_bad); i++) {
        uint8_t bytes[512], zeros[32] = {0};
        size_t n = npy_bytes(bytes, npy_bad[i].header, zeros, npy_bad[i].n);
        FraxTensor t = {.rank = 5};
        FraxError err = {0};
        FraxStatus status = npy_parse("x.npy", bytes, n, &t, &err);
        assert_failure(status, npy_bad[i].status, &err, npy_bad[i].word);
        assert_true(strncmp(err.message, "x.npy: ", 7) == 0 && t.data == NULL && t.rank == 0);
    }
}

static void test_npy_prefix_and_truncation(void **state) {
    (void)state;
    uint8_t bytes[256];
    double v = 1;
    size_t n = npy_bytes(bytes, DICT("'<f8'", "False", "()"), &v, sizeof v);
    FraxTensor t;
    FraxError err;
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *exact = malloc(cut + 1); /* so that the sanitizer sees a byte too many */
        memcpy(exact, bytes, cut);
        assert_int_equal(npy_parse("x.npy", exact, cut, &t, &err), FRAX_FILE);
        free(exact);
    }
    bytes[8] = bytes[9] = 0xff;
    assert_failure(npy_parse("x.npy", bytes, n, &t, &err), FRAX_FILE, &err, "claims 65535 bytes");
    bytes[6] = 4;
    assert_failure(npy_parse("x.npy", bytes, n, &t, &err), FRAX_FILE, &err, "version 4.0");
    bytes[0] = 'x';
    assert_failure(npy_parse("x.npy", bytes, n, &t, &err), FRAX_FILE, &err, "not an NPY file");
}

static void test_npy_integers_out_of_range(void **state) {
    (void)state;
    static const struct {
        const char *header, *data;
        size_t n;
        const char *word;
    } cases[] = {
        {DICT("'<i8'", "False", "(2,)"), DATA("\1\0\0\0\0\0\0\0\0\0\0\x80\0\0\0\0"),
         "element 1 is 2147483648"},
        {DICT("'<i8'", "False", "(1,)"), DATA("\xff\xff\xff\x7f\xff\xff\xff\xff"),
         "element 0 is -2147483649"},
        {DICT("'<u4'", "False", "(1,)"), DATA("\0\0\0\x80"), "element 0 is 2147483648"},
        {DICT("'<u8'", "False", "(1,)"), DATA("\xff\xff\xff\xff\xff\xff\xff\xff"), "is 18446744073709551615"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t bytes[256];
        size_t n = npy_bytes(bytes, cases[i].header, cases[i].data, cases[i].n);
        FraxTensor t;
        FraxError err;
        assert_failure(npy_parse("x.npy", bytes, n, &t, &err), FRAX_VALUE, &err, cases[i].word);
    }
}

/* ---- NPZ ---- */

static void test_npz_round_trip(void **state) {
    (void)state;
    NamedTensor items[DTYPES + 1];
    char names[DTYPES + 1][16];
    for (int i = 0; i <= DTYPES; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        items[i] = (NamedTensor){names[i], sample((FraxDType)(i % DTYPES), &shapes[i == DTYPES ? 3 : i % 3])};
    }
    FraxError err = {0};
    assert_int_equal(npz_write(in_folder("a.npz"), items, COUNT(items), &err), FRAX_OK);
    for (size_t i = 0; i < COUNT(items); i++) {
        FraxTensor back;
        assert_int_equal(npz_read(in_folder("a.npz"), items[i].name, NULL, &back, &err), FRAX_OK);
        assert_same_tensor(&items[i].tensor, &back);
        tensor_free(&back);
    }
    FraxTensor back;
    assert_failure(npz_read(in_folder("a.npz"), "t8", NULL, &back, &err), FRAX_NAME, &err, "did you mean 't");
    assert_failure(npz_read(in_folder("a.npz"), NULL, "x", &back, &err), FRAX_NAME, &err, "7 arrays (t0, t1");
    items[1].name = "t0";
    assert_failure(npz_write(in_folder("b.npz"), items, 2, &err), FRAX_NAME, &err, "'t0' is repeated");
    assert_failure(npz_write(in_folder("b.npz"), items, 0, &err), FRAX_USAGE, &err, "at least one");
    assert_int_not_equal(access(in_folder("b.npz"), F_OK), 0);
}

/* An archive with one member of the given bytes, deflated if asked. */
static void write_zip(const char *path, const char *name, const void *data, size_t n, int method) {
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(zip);
    zip_int64_t entry = zip_file_add(zip, name, zip_source_buffer(zip, data, n, 0), ZIP_FL_ENC_UTF_8);
    assert_true(entry >= 0);
    zip_set_file_compression(zip, (zip_uint64_t)entry, method, 9);
    assert_int_equal(zip_close(zip), 0);
}

static void patch(const char *path, const char *find, size_t n, size_t at, uint8_t value) {
    uint8_t bytes[4096];
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    size_t size = fread(bytes, 1, sizeof bytes, f);
    size_t hit = 0;
    while (hit + n <= size && memcmp(bytes + hit, find, n) != 0) hit++;
    assert_true(hit + n <= size);
    fseek(f, (long)(hit + at), SEEK_SET);
    fputc(value, f);
    fclose(f);
}

static void test_npz_deflated_and_damaged(void **state) {
    (void)state;
    static double zeros[100];
    uint8_t bytes[1024];
    size_t n = npy_bytes(bytes, DICT("'<f8'", "False", "(100,)"), zeros, sizeof zeros);
    FraxTensor t;
    FraxError err;
    write_zip(in_folder("c.npz"), "x.npy", bytes, n, ZIP_CM_DEFLATE);
    assert_int_equal(npz_read(in_folder("c.npz"), "x", NULL, &t, &err), FRAX_OK);
    assert_true(t.dims[0] == 100 && ((double *)t.data)[99] == 0);
    tensor_free(&t);

    patch(in_folder("c.npz"), "PK\1\2", 4, 27, 0x7f); /* the uncompressed size in the central directory */
    assert_int_equal(npz_read(in_folder("c.npz"), "x", NULL, &t, &err), FRAX_FILE);

    write_zip(in_folder("d.npz"), "x.npy", bytes, n, ZIP_CM_STORE);
    patch(in_folder("d.npz"), "'shape': (100,), }\n", 19, 30, 1); /* one byte of data */
    assert_failure(npz_read(in_folder("d.npz"), "x", NULL, &t, &err), FRAX_FILE, &err, "d.npz:x: damaged");

    write_zip(in_folder("e.npz"), "x\n.npy", bytes, n, ZIP_CM_STORE);
    assert_int_equal(npz_read(in_folder("e.npz"), "x", NULL, &t, &err), FRAX_FILE);
    write_zip(in_folder("f.npz"), "readme.txt", bytes, n, ZIP_CM_STORE);
    assert_failure(npz_read(in_folder("f.npz"), "x", NULL, &t, &err), FRAX_NAME, &err, "holds no array");
    assert_int_equal(file_replace(in_folder("g.npz"), bytes, n, &err), FRAX_OK);
    assert_int_equal(npz_read(in_folder("g.npz"), "x", NULL, &t, &err), FRAX_FILE);
}

/* ---- safetensors ---- */

static void test_safetensors_round_trip(void **state) {
    (void)state;
    NamedTensor items[DTYPES + 2];
    static const char *const names[] = {"f64", "f32",  "b\"f\\16", "f16",
                                        "i32", "bool", "empty",    "\xc3\xa9t\xc3\xa9"};
    for (size_t i = 0; i < COUNT(items); i++)
        items[i] = (NamedTensor){names[i], sample((FraxDType)(i % DTYPES), &shapes[i == DTYPES ? 3 : i % 3])};
    StringPair metadata[] = {{"format", "frax"}, {"note", "two\nlines, a \"quote\""}};
    TensorSet set = {.items = items, .count = COUNT(items), .metadata = metadata, .metadata_count = 2}, back;
    FraxError err = {0};
    assert_int_equal(safetensors_write(in_folder("a.safetensors"), &set, &err), FRAX_OK);
    assert_int_equal(safetensors_read(in_folder("a.safetensors"), &back, &err), FRAX_OK);
    assert_int_equal(back.count, COUNT(items));
    for (size_t i = 0; i < COUNT(items); i++) {
        FraxTensor *t = tensor_set_find(&back, items[i].name);
        assert_non_null(t);
        assert_same_tensor(&items[i].tensor, t);
    }
    assert_null(tensor_set_find(&back, "f"));
    assert_int_equal(back.metadata_count, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(back.metadata[i].key, metadata[i].key);
        assert_string_equal(back.metadata[i].value, metadata[i].value);
    }
    tensor_set_free(&back);

    items[1].name = "f64";
    assert_failure(safetensors_write(in_folder("b.safetensors"), &set, &err), FRAX_NAME, &err, "repeated");
    items[1].name = "__metadata__";
    assert_failure(safetensors_write(in_folder("b.safetensors"), &set, &err), FRAX_NAME, &err, "reserved");
    assert_int_not_equal(access(in_folder("b.safetensors"), F_OK), 0);
}

/* The whole file, as the format's page gives it. */
static void test_safetensors_layout(void **state) {
    (void)state;
    int32_t ints[] = {1, 2};
    double real = 1.5;
    uint8_t flag = 1;
    NamedTensor items[] = {
        {"b", {FRAX_BOOL, 0, {0}, &flag}}, {"i", {FRAX_I32, 1, {2}, ints}}, {"d", {.data = &real}}};
    TensorSet set = {.items = items, .count = 3};
    static const char wanted[] = "\xa8\0\0\0\0\0\0\0"
                                 "{\"d\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
                                 "\"i\":{\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[8,16]},"
                                 "\"b\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[16,17]}}      "
                                 "\0\0\0\0\0\0\xf8\x3f\1\0\0\0\2\0\0\0\1";
    char got[512];
    assert_int_equal(safetensors_write(in_folder("l.safetensors"), &set, NULL), FRAX_OK);
    FILE *f = fopen(in_folder("l.safetensors"), "rb");
    assert_non_null(f);
    size_t n = fread(got, 1, sizeof got, f);
    fclose(f);
    assert_int_equal(n, sizeof wanted - 1);
    assert_memory_equal(got, wanted, n);
}

#define TENSOR(dtype, shape, offsets)                                                                        \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void test_safetensors_good(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n, count;
        const char *name; /* of the first in the file */
    } cases[] = {
        {"{}", 0, 0, NULL},
        {"{}   \n ", 0, 0, NULL},
        {"{\"__metadata__\":{}}", 0, 0, NULL},
        {"{\"b\":" TENSOR("F32", "[1]", "[8,12]") ",\"a\":" TENSOR("F64", "[]", "[0,8]") "}", 12, 2, "a"},
        {"{ \"a\" : { \"data_offsets\" : [ 0 , 16 ] , \"shape\" : [ 2 ] , \"dtype\" : \"I64\" } }", 16, 1,
         "a"},
        {"{\"z\":" TENSOR("F32", "[0]", "[0,0]") ",\"a\":" TENSOR("U8", "[3]", "[0,3]") "}", 3, 2, "z"},
        {"{\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\\/\":" TENSOR("BOOL", "[]", "[0,1]") "}", 1, 1,
         "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80/"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t bytes[512];
        size_t n = safetensors_bytes(bytes, cases[i].header, cases[i].n);
        TensorSet set;
        FraxError err = {0};
        if (safetensors_parse("x", bytes, n, &set, &err)) fail_msg("%s: %s", cases[i].header, err.message);
        assert_int_equal(set.count, cases[i].count);
        if (set.count) assert_string_equal(set.items[0].name, cases[i].name);
        tensor_set_free(&set);
    }
}

static void test_safetensors_malformed(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n;
        FraxStatus status;
        const char *word;
    } cases[] = {
        {"", 0, FRAX_FILE, "expected '{', got the end"},
        {" {}", 0, FRAX_FILE, "expected '{', got ' '"},
        {"[]", 0, FRAX_FILE, "expected '{'"},
        {"{}x", 0, FRAX_FILE, "end of the header"},
        {"{}", 1, FRAX_FILE, "describes 0 bytes of data, the file holds 1"},
        {"{\"a\":1}", 0, FRAX_FILE, "expected '{', got '1'"},
        {"{\"a\":[[[[[[]]]]]]}", 0, FRAX_FILE, "expected '{'"},
        {"{\"a\":" TENSOR("F64", "[2]", "[0,8]") "}", 8, FRAX_FILE, "expected [0, 16]"},
        {"{\"a\":" TENSOR("F64", "[1]", "[0,8]") "}", 7, FRAX_FILE, "describes 8"},
        {"{\"a\":" TENSOR("F64", "[1]", "[8,16]") "}", 16, FRAX_FILE, "expected [0, 8]"},
        {"{\"a\":" TENSOR("F64", "[1]", "[8,0]") "}", 8, FRAX_FILE, "expected [0, 8]"},
        {"{\"a\":" TENSOR("F64", "[1]", "[0,8]") ",\"b\":" TENSOR("F64", "[1]", "[4,12]") "}", 12, FRAX_FILE,
         "'b'"},
        {"{\"a\":" TENSOR("F64", "[1]", "[0,8]") ",\"b\":" TENSOR("F64", "[1]", "[12,20]") "}", 20, FRAX_FILE,
         "'b'"},
        {"{\"a\":" TENSOR("U8", "[]", "[0,1]") ",\"a\":" TENSOR("U8", "[]", "[1,2]") "}", 2, FRAX_FILE,
         "'a' is repeated"},
        {"{\"a\":" TENSOR("F64", "[4294967296,4294967296]", "[0,0]") "}", 0, FRAX_FILE, "overflows"},
        {"{\"a\":" TENSOR("F64", "[99999999999999999999]", "[0,0]") "}", 0, FRAX_FILE, "overflows"},
        {"{\"a\":" TENSOR("F64", "[-1]", "[0,8]") "}", 8, FRAX_FILE, "integer of 0 or more"},
        {"{\"a\":" TENSOR("F64", "[1.0]", "[0,8]") "}", 8, FRAX_FILE, "',' or ']'"},
        {"{\"a\":" TENSOR("F64", "[1e9]", "[0,8]") "}", 8, FRAX_FILE, "',' or ']'"},
        {"{\"a\":" TENSOR("F64", "[01]", "[0,8]") "}", 8, FRAX_FILE, "',' or ']'"},
        {"{\"a\":" TENSOR("F64", "[1,1,1,1,1,1,1,1,1]", "[0,8]") "}", 8, FRAX_SHAPE, "more than 8"},
        {"{\"a\":" TENSOR("F64", "[1]", "[0]") "}", 8, FRAX_FILE, "two data_offsets"},
        {"{\"a\":" TENSOR("F64", "[1]", "[0,8,9]") "}", 8, FRAX_SHAPE, "more than 2"},
        {"{\"a\":" TENSOR("F8_E4M3", "[1]", "[0,1]") "}", 1, FRAX_TYPE,
         "dtype 'F8_E4M3'; expected one of F64"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1]}}", 8, FRAX_FILE, "expected ','"},
        {"{\"a\":{\"dtype\":\"F64\",\"dtype\":\"F64\",\"shape\":[1]}}", 8, FRAX_FILE, "repeated key 'dtype'"},
        {"{\"a\":{\"type\":\"F64\"}}", 8, FRAX_FILE, "unknown key 'type'"},
        {"{\"a\\u0000b\":" TENSOR("U8", "[]", "[0,1]") "}", 1, FRAX_FILE, "valid \\u escape"},
        {"{\"a\\ud800b\":" TENSOR("U8", "[]", "[0,1]") "}", 1, FRAX_FILE, "valid \\u escape"},
        {"{\"a\\x\":1}", 0, FRAX_FILE, "escape sequence"},
        {"{\"a\\u001b[2J\":1}", 0, FRAX_FILE, "control character"},
        {"{\"a\x1b\":1}", 0, FRAX_FILE, "control character"},
        {"{\"a", 0, FRAX_FILE, "closing quote"},
        {"{\"a\\", 0, FRAX_FILE, "escape sequence"},
        {"{\"a\\u00", 0, FRAX_FILE, "valid \\u escape"},
        {"{\"__metadata__\":{\"a\":1}}", 0, FRAX_FILE, "expected a string"},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, FRAX_FILE, "repeated"},
        {"{\"a\":" TENSOR("U8", "[]", "[0,1]") ",}", 1, FRAX_FILE, "expected a string"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint8_t bytes[512];
        size_t n = safetensors_bytes(bytes, cases[i].header, cases[i].n);
        TensorSet set;
        FraxError err = {0};
        assert_failure(safetensors_parse("x", bytes, n, &set, &err), cases[i].status, &err, cases[i].word);
        assert_true(set.count == 0 && set.items == NULL);
    }
}

static void test_safetensors_lying_length(void **state) {
    (void)state;
    uint8_t bytes[64];
    size_t n = safetensors_bytes(bytes, "{}", 0);
    TensorSet set;
    FraxError err;
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(safetensors_parse("x", bytes, cut, &set, &err), FRAX_FILE);
    memset(bytes, 0xff, 8);
    assert_failure(safetensors_parse("x", bytes, n, &set, &err), FRAX_FILE, &err,
                   "claims 18446744073709551615 bytes");
}

static void test_safetensors_range_names_the_tensor(void **state) {
    (void)state;
    uint8_t bytes[256];
    size_t n = safetensors_bytes(bytes, "{\"labels\":" TENSOR("I64", "[2]", "[0,16]") "}", 16);
    bytes[n - 1] = 1;
    TensorSet set;
    FraxError err;
    assert_failure(safetensors_parse("x", bytes, n, &set, &err), FRAX_VALUE, &err,
                   "tensor 'labels': element 1 is");
}

/* ---- By extension ---- */

static void test_formats_by_extension(void **state) {
    (void)state;
    static const char *const files[] = {"e.npy", "e.npz", "e.safetensors"};
    FraxTensor t = sample(FRAX_F32, &shapes[2]), back;
    FraxError err = {0};
    for (size_t i = 0; i < COUNT(files); i++) {
        assert_int_equal(tensor_write(in_folder(files[i]), "weights", &t, &err), FRAX_OK);
        assert_int_equal(tensor_read(in_folder(files[i]), "x", &back, &err), FRAX_OK);
        assert_same_tensor(&t, &back);
        tensor_free(&back);
    }
    for (size_t i = 1; i < COUNT(files); i++) {
        char spec[PATH_MAX + NAME_MAX + 16];
        snprintf(spec, sizeof spec, "%s:weights", in_folder(files[i]));
        assert_int_equal(tensor_read(spec, NULL, &back, &err), FRAX_OK);
        tensor_free(&back);
        snprintf(spec, sizeof spec, "%s:weight", in_folder(files[i]));
        assert_failure(tensor_read(spec, NULL, &back, &err), FRAX_NAME, &err, "did you mean 'weights'?");
    }
    NamedTensor two[] = {{"x", t}, {"y", sample(FRAX_I32, &shapes[1])}};
    assert_int_equal(npz_write(in_folder("two.npz"), two, 2, &err), FRAX_OK);
    assert_int_equal(tensor_read(in_folder("two.npz"), "y", &back, &err), FRAX_OK);
    assert_same_tensor(&two[1].tensor, &back);
    tensor_free(&back);
    assert_failure(tensor_read(in_folder("two.npz"), "z", &back, &err), FRAX_NAME, &err, "choose one as");
    assert_failure(tensor_read(in_folder("e.npy:x"), NULL, &back, &err), FRAX_USAGE, &err, "without a name");
    assert_failure(tensor_read("e.csv", NULL, &back, &err), FRAX_USAGE, &err, "'e.csv'");
    assert_failure(tensor_write("npy", "x", &t, &err), FRAX_USAGE, &err, "'npy'");
    assert_failure(tensor_read(in_folder("none.npy"), NULL, &back, &err), FRAX_FILE, &err, "No such file");
    assert_failure(npy_read(folder, &back, &err), FRAX_FILE, &err, "not a regular file");
    assert_failure(npz_read(in_folder("none.npz"), NULL, NULL, &back, &err), FRAX_FILE, &err, "No such file");
}

/* ---- Replacing files ---- */

static void test_atomic_replacement(void **state) {
    (void)state;
    const char *path = in_folder("atomic.txt");
    size_t before = count_entries(folder);
    AtomicFile file;
    FraxError err;
    assert_int_equal(file_replace(path, "old", 3, &err), FRAX_OK);
    assert_int_equal(chmod(path, 0640), 0);

    assert_int_equal(atomic_open(path, &file, &err), FRAX_OK);
    atomic_write(&file, "ne", 2);
    atomic_abandon(&file);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 3);

    assert_int_equal(file_replace(path, "newer", 5, &err), FRAX_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 5);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(count_entries(folder), before + 1); /* no temporary stays */
}

static void test_links_devices_and_bad_targets(void **state) {
    (void)state;
    FraxError err;
    struct stat st;
    assert_int_equal(file_replace(in_folder("target"), "a", 1, &err), FRAX_OK);
    assert_int_equal(symlink("target", in_folder("link")), 0);
    assert_int_equal(file_replace(in_folder("link"), "abc", 3, &err), FRAX_OK);
    assert_true(lstat(in_folder("link"), &st) == 0 && S_ISLNK(st.st_mode));
    assert_true(stat(in_folder("target"), &st) == 0 && st.st_size == 3);

    assert_int_equal(file_replace("/dev/null", "abc", 3, &err), FRAX_OK);
    assert_true(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    static const uint8_t page[65536];
    if (access("/dev/full", W_OK) == 0)
        assert_failure(file_replace("/dev/full", page, sizeof page, &err), FRAX_FILE, &err, "No space left");

    FraxTensor t = sample(FRAX_F64, &shapes[1]);
    size_t before = count_entries(folder);
    assert_failure(npy_write(in_folder("no/such/folder.npy"), &t, &err), FRAX_FILE, &err, "No such file");
    assert_failure(npy_write(folder, &t, &err), FRAX_FILE, &err, "directory");
    assert_int_equal(count_entries(folder), before);
}

/* ---- Failing allocations ---- */

static FraxStatus step_npy(FraxError *err) {
    FraxTensor t = sample(FRAX_F64, &shapes[2]), back;
    FraxStatus status = npy_write(in_folder("m.npy"), &t, err);
    if (!status) status = tensor_read(in_folder("m.npy"), NULL, &back, err);
    if (!status) tensor_free(&back);
    return status;
}

static FraxStatus step_fortran(FraxError *err) {
    static const uint8_t data[8];
    uint8_t bytes[256];
    FraxTensor t;
    size_t n = npy_bytes(bytes, DICT("'|u1'", "True", "(2,4)"), data, sizeof data);
    FraxStatus status = npy_parse("x", bytes, n, &t, err);
    if (!status) tensor_free(&t);
    return status;
}

static FraxStatus step_npz(FraxError *err) {
    NamedTensor items[] = {{"x", sample(FRAX_F64, &shapes[2])}, {"y", sample(FRAX_I32, &shapes[1])}};
    FraxTensor back;
    FraxStatus status = npz_write(in_folder("m.npz"), items, COUNT(items), err);
    if (!status) status = tensor_read(in_folder("m.npz"), "y", &back, err);
    if (!status) tensor_free(&back);
    return status;
}

static FraxStatus step_safetensors(FraxError *err) {
    NamedTensor items[] = {{"x", sample(FRAX_F64, &shapes[2])}, {"y", sample(FRAX_I32, &shapes[1])}};
    StringPair metadata = {"format", "frax"};
    TensorSet set = {.items = items, .count = 2, .metadata = &metadata, .metadata_count = 1};
    FraxTensor back;
    FraxStatus status = safetensors_write(in_folder("m.safetensors"), &set, err);
    if (!status) status = tensor_read(in_folder("m.safetensors"), "y", &back, err);
    if (!status) tensor_free(&back);
    return status;
}

static FraxStatus step_messages(FraxError *err) {
    uint8_t bytes[256];
    FraxTensor t;
    size_t n = npy_bytes(bytes, DICT("'<c8'", "True", "(2,4)"), NULL, 0);
    FraxStatus status = npy_parse("x", bytes, n, &t, err);
    return status == FRAX_TYPE ? FRAX_OK : status;
}

static void test_failing_allocations(void **state) {
    (void)state;
    static FraxStatus (*const steps[])(FraxError *) = {step_npy, step_fortran, step_npz, step_safetensors,
                                                       step_messages};
    for (size_t i = 0; i < COUNT(steps); i++) {
        FraxError err = {0};
        assert_int_equal(steps[i](&err), FRAX_OK);
        size_t files = count_entries(folder), descriptors = count_entries("/proc/self/fd");
        long n = 1;
        for (FraxStatus status = FRAX_MEMORY; status != FRAX_OK; n++) {
            mem_fail_after(n);
            status = steps[i](&err);
            mem_fail_after(0);
            if (status) assert_failure(status, FRAX_MEMORY, &err, "out of memory");
            assert_int_equal(count_entries(folder), files);
            assert_int_equal(count_entries("/proc/self/fd"), descriptors);
        }
        assert_true(n > 2); /* at least one allocation was made to fail */
    }
}

/* ---- Set-up ---- */

static int make_folder(void **state) {
    (void)state;
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/frax-files-XXXXXX", parent ? parent : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    DIR *dir = opendir(folder);
    if (!dir) return -1;
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.') unlink(in_folder(e->d_name));
    closedir(dir);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_npy_round_trip),
        cmocka_unit_test(test_npy_as_numpy_writes_it),
        cmocka_unit_test(test_npy_byte_orders_and_widths),
        cmocka_unit_test(test_npy_versions_2_and_3),
        cmocka_unit_test(test_npy_fortran_order),
        cmocka_unit_test(test_npy_malformed),
        cmocka_unit_test(test_npy_prefix_and_truncation),
        cmocka_unit_test(test_npy_integers_out_of_range),
        cmocka_unit_test(test_npz_round_trip),
        cmocka_unit_test(test_npz_deflated_and_damaged),
        cmocka_unit_test(test_safetensors_round_trip),
        cmocka_unit_test(test_safetensors_layout),
        cmocka_unit_test(test_safetensors_good),
        cmocka_unit_test(test_safetensors_malformed),
        cmocka_unit_test(test_safetensors_lying_length),
        cmocka_unit_test(test_safetensors_range_names_the_tensor),
        cmocka_unit_test(test_formats_by_extension),
        cmocka_unit_test(test_atomic_replacement),
        cmocka_unit_test(test_links_devices_and_bad_targets),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
