/* keys.c — see keys.h. A step's key is a block of Philox under the caller's key, so that neither equal steps
 * of fits with different keys nor different steps of one share their numbers.
 */
#include "keys.h"
#include "model.h"
#include "philox.h"
#include <string.h>

struct FitKeys {
    size_t count;
    struct FitKey {
        bool is_key;
        uint32_t words[2]; /* of the step */
    } inputs[];
};

FraxStatus fit_keys_create(const FraxModel *model, FitKeys **keys, FraxError *err) {
    size_t n = model_count(model, FRAX_INPUT), found = 0;
    *keys = NULL;
    for (size_t i = 0; i < n; i++) found += model_is_key(model, i);
    if (!found) return FRAX_OK;
    *keys = mem_calloc(1, sizeof **keys + n * sizeof *(*keys)->inputs);
    if (!*keys) return fail_memory(err, "the keys of a fit");
    (*keys)->count = n;
    for (size_t i = 0; i < n; i++) (*keys)->inputs[i].is_key = model_is_key(model, i);
    return FRAX_OK;
}

void fit_keys_destroy(FitKeys *keys) {
    mem_free(keys);
}

bool fit_keys_has(const FitKeys *keys, size_t input) {
    return keys && input < keys->count && keys->inputs[input].is_key;
}

void fit_keys_next(FitKeys *keys, int64_t step, const void **inputs) {
    for (size_t i = 0; keys && i < keys->count; i++) {
        struct FitKey *key = &keys->inputs[i];
        if (!key->is_key) continue;
        uint32_t given[2], out[4];
        memcpy(given, inputs[i], sizeof given);
        philox4x32((uint32_t[]){(uint32_t)step, (uint32_t)(step >> 32), 0, PHILOX_STEPS}, given, out);
        memcpy(key->words, out, sizeof key->words);
        inputs[i] = key->words;
    }
}
