/* fuzz_safetensors.c — the safetensors reader on damaged files. What it accepts must be whole: valid shapes,
 * readable elements, every name found again, no two alike.
 * An edit of the header seldom keeps its length right, so each input runs again with a length that ends at
 * the brace.
 */
#include "fuzz.h"
#include "files.h"
#include "half.h"
#include <string.h>

#define TENSOR(dtype, shape, offsets)                                                                        \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

const FuzzSeed fuzz_seeds[] = {
    FUZZ_SEED("\2\0\0\0\0\0\0\0{}"),
    FUZZ_SEED("\x3d\0\0\0\0\0\0\0{\"w\":" TENSOR("F32", "[2,2]", "[0,16]") "}    0123456789abcdef"),
    FUZZ_SEED("\x6b\0\0\0\0\0\0\0{\"a\":" TENSOR("F64", "[]", "[0,8]") ",\"b\":" TENSOR(
        "I64", "[1]", "[8,16]") "}"
                                "01234567\1\0\0\0\0\0\0\0"),
    FUZZ_SEED("\x5f\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"\\u00e9\\n\"},\"x\":" TENSOR(
        "BOOL", "[3]", "[0,3]") "}   "
                                "\1\0\7"),
    {NULL, 0},
};

const FuzzSeed fuzz_words[] = {
    FUZZ_SEED("\"dtype\":"),
    FUZZ_SEED("\"shape\":"),
    FUZZ_SEED("\"data_offsets\":"),
    FUZZ_SEED("\"__metadata__\":"),
    FUZZ_SEED("\"F64\""),
    FUZZ_SEED("\"BF16\""),
    FUZZ_SEED("\"U8\""),
    FUZZ_SEED("\"BOOL\""),
    FUZZ_SEED("[0,0]"),
    FUZZ_SEED("[]"),
    FUZZ_SEED("[1,1,1,1,1,1,1,1,"),
    FUZZ_SEED("4294967296,"),
    FUZZ_SEED("\\u0000"),
    FUZZ_SEED("\\ud83d\\ude00"),
    FUZZ_SEED("9223372036854775807"),
    FUZZ_SEED("-1"),
    FUZZ_SEED("[[[[[[[["),
    FUZZ_SEED("{\"\":{"),
    FUZZ_SEED("}"),
    FUZZ_SEED(","),
    {NULL, 0},
};

static void check_item(const TensorSet *set, const NamedTensor *item) {
    const FraxTensor *t = &item->tensor;
    int64_t count = tensor_count(t);
    fuzz_check(count >= 0 && tensor_set_find(set, item->name) == t);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += element_get(t->data, t->dtype, i);
    fuzz_check(t->dtype != FRAX_BOOL || (sum >= 0 && sum <= (double)count));
}

long fuzz_accepted;

static void parse(const uint8_t *data, size_t size) {
    TensorSet set;
    FraxError err = {0};
    FraxStatus status = safetensors_parse("fuzz.safetensors", data, size, &set, &err);
    if (status) {
        fuzz_check(!set.items && !set.count && err.status == status && err.message[0]);
        return;
    }
    fuzz_accepted++;
    for (size_t i = 0; i < set.count; i++) check_item(&set, &set.items[i]);
    for (size_t i = 0; i < set.metadata_count; i++) fuzz_check(set.metadata[i].key && set.metadata[i].value);
    tensor_set_free(&set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { START = 8 };
    parse(data, size);
    size_t end = size;
    while (end > START && data[end - 1] != '}') end--;
    uint8_t *repaired = size > START ? malloc(size) : NULL;
    if (repaired) {
        memcpy(repaired, data, size);
        for (int k = 0; k < START; k++) repaired[k] = (uint8_t)((uint64_t)(end - START) >> 8 * k);
        parse(repaired, size);
    }
    free(repaired);
    return 0;
}
