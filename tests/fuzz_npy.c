/* fuzz_npy.c — the NPY reader on damaged files. What it accepts must be a whole tensor: the count of elements
 * is valid, all of them can be read, and writing the header gives what the reader takes for the same shape.
 * An edit of the header seldom keeps its length right, so each input runs again with a length that ends at
 * the brace.
 */
#include "fuzz.h"
#include "files.h"
#include "half.h"
#include <string.h>

#define NPY(version, length, header) "\x93NUMPY" version length header

const FuzzSeed fuzz_seeds[] = {
    FUZZ_SEED(NPY("\1\0", "\x3a\0",
                  "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n") "0123456789abcdef"),
    FUZZ_SEED(NPY("\1\0", "\x3b\0",
                  "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 2), }\n") "0123456789abcdef"),
    FUZZ_SEED(NPY("\2\0", "\x3b\0\0\0",
                  "{'descr': '<i8', 'fortran_order': True, 'shape': (1, 2), }\n") "\1\0\0\0\0\0\0\0"
                                                                                  "\2\0\0\0\0\0\0\0"),
    FUZZ_SEED(NPY("\3\0", "\x37\0\0\0", "{'descr':'|b1','fortran_order':False,'shape':(3,1,1,)}\n") "\1\0\7"),
    FUZZ_SEED(NPY("\1\0", "\x38\0", "{'descr': '<V2', 'fortran_order': False, 'shape': (), }\n") "\x80\x3f"),
    {NULL, 0},
};

const FuzzSeed fuzz_words[] = {
    FUZZ_SEED("'descr': "),
    FUZZ_SEED("'fortran_order': "),
    FUZZ_SEED("'shape': "),
    FUZZ_SEED("True"),
    FUZZ_SEED("False"),
    FUZZ_SEED("'<f8'"),
    FUZZ_SEED("'>f2'"),
    FUZZ_SEED("'|u1'"),
    FUZZ_SEED("'>i8'"),
    FUZZ_SEED("'<u4'"),
    FUZZ_SEED("(0,)"),
    FUZZ_SEED("(1, 1, 1, 1, 1, 1, "),
    FUZZ_SEED(", "),
    FUZZ_SEED("4294967296, "),
    FUZZ_SEED("9223372036854775807, "),
    FUZZ_SEED("-1"),
    FUZZ_SEED("\0\0"),
    FUZZ_SEED("\xff\xff"),
    FUZZ_SEED("\2\0"),
    {NULL, 0},
};

static void check_tensor(const FraxTensor *t) {
    int64_t count = tensor_count(t);
    fuzz_check(count >= 0);
    for (int64_t i = 0; i < count; i++) {
        double v = element_get(t->data, t->dtype, i);
        fuzz_check(t->dtype != FRAX_BOOL || v == ((const uint8_t *)t->data)[i]);
    }
}

static void check_rewritten(const FraxTensor *t) {
    Text text = {0};
    FraxTensor back;
    FraxError err;
    npy_header(&text, t);
    text_append(&text, t->data, (size_t)tensor_count(t) * frax_dtype_size(t->dtype));
    if (!text.failed) {
        FraxStatus status = npy_parse("rewritten", text.data, text.len, &back, &err);
        fuzz_check(status == FRAX_OK || status == FRAX_MEMORY);
        fuzz_check(status || (back.rank == t->rank && tensor_count(&back) == tensor_count(t)));
        if (!status) tensor_free(&back);
    }
    text_free(&text);
}

long fuzz_accepted;

static void parse(const uint8_t *data, size_t size) {
    FraxTensor t;
    FraxError err = {0};
    FraxStatus status = npy_parse("fuzz.npy", data, size, &t, &err);
    if (status) {
        fuzz_check(!t.data && err.status == status && err.message[0]);
        return;
    }
    fuzz_accepted++;
    check_tensor(&t);
    check_rewritten(&t);
    tensor_free(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    parse(data, size);
    size_t start = size > 6 && data[6] == 1 ? 10 : 12, end = size;
    while (end > start && data[end - 1] != '}') end--;
    uint8_t *repaired = size > start ? malloc(size) : NULL;
    if (repaired) {
        memcpy(repaired, data, size);
        repaired[8] = (uint8_t)(end - start), repaired[9] = (uint8_t)((end - start) >> 8);
        parse(repaired, size);
    }
    free(repaired);
    return 0;
}
