/* keys.h — the keys of random numbers while a model is fitted: each step has keys of its own. */
#ifndef FRAX_KEYS_H
#define FRAX_KEYS_H

#include "ir.h"

typedef struct FitKeys FitKeys;

/* For the inputs of the model that are keys; *keys is NULL when there are none, which all calls take. */
FraxStatus fit_keys_create(const FraxModel *model, FitKeys **keys, FraxError *err);
void fit_keys_destroy(FitKeys *keys);
bool fit_keys_has(const FitKeys *keys, size_t input);
/* Puts the keys of a step, functions of its number and of the caller's keys, in place of those. */
void fit_keys_next(FitKeys *keys, int64_t step, const void **inputs);

#endif
