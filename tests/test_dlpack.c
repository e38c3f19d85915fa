/* test_dlpack.c — tensors of other libraries in and out without a copy: dtypes, strides, offsets, read-only
 * memory, whose memory is released when, and what is refused.
 */
#include "base.h"
#include "frax_dlpack.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static DLManagedTensor tensor_of(void *data, int ndim, int64_t *shape, int64_t *strides, DLDataType dtype) {
    DLManagedTensor t = {.dl_tensor = {.data = data, .ndim = ndim, .shape = shape, .strides = strides}};
    t.dl_tensor.dtype = dtype;
    t.dl_tensor.device.device_type = kDLCPU;
    return t;
}

/* As the published header lays them out on machines with 64 bits. */
static void test_layout(void **state) {
    (void)state;
    assert_int_equal(sizeof(DLTensor), 48);
    assert_int_equal(offsetof(DLTensor, ndim), 16);
    assert_int_equal(offsetof(DLTensor, dtype), 20);
    assert_int_equal(offsetof(DLTensor, byte_offset), 40);
    assert_int_equal(offsetof(DLManagedTensor, deleter), 56);
    assert_int_equal(offsetof(DLManagedTensorVersioned, flags), 24);
    assert_int_equal(offsetof(DLManagedTensorVersioned, dl_tensor), 32);
}

static void test_dtypes(void **state) {
    (void)state;
    static const struct {
        DLDataType code;
        FraxDType dtype;
    } rows[] = {{{kDLFloat, 64, 1}, FRAX_F64},   {{kDLFloat, 32, 1}, FRAX_F32}, {{kDLFloat, 16, 1}, FRAX_F16},
                {{kDLBfloat, 16, 1}, FRAX_BF16}, {{kDLInt, 32, 1}, FRAX_I32},   {{kDLBool, 8, 1}, FRAX_BOOL}};
    double data[2];
    int64_t shape[] = {2};
    for (size_t i = 0; i < COUNT(rows); i++) {
        DLManagedTensor t = tensor_of(data, 1, shape, NULL, rows[i].code), *out;
        FraxView view;
        assert_int_equal(frax_view_from_dlpack(&t, &view, NULL), FRAX_OK);
        assert_int_equal(view.dtype, rows[i].dtype);
        assert_int_equal(view.strides[0], frax_dtype_size(rows[i].dtype));
        assert_int_equal(frax_view_to_dlpack(&view, NULL, NULL, &out, NULL), FRAX_OK);
        assert_memory_equal(&out->dl_tensor.dtype, &rows[i].code, sizeof rows[i].code);
        assert_ptr_equal(out->dl_tensor.data, data);
        out->deleter(out);
    }
}

static void refused(const DLManagedTensor *t, FraxStatus status, const char *message) {
    FraxView view;
    FraxError err;
    assert_int_equal(frax_view_from_dlpack(t, &view, &err), status);
    if (!strstr(err.message, message)) fail_msg("%s", err.message);
}

static void test_refusals(void **state) {
    (void)state;
    double data[6];
    int64_t shape[] = {2, 3}, strides[] = {3, INT64_MAX};
    const DLDataType f64 = {kDLFloat, 64, 1};
    DLManagedTensor t = tensor_of(data, 2, shape, strides, f64);
    refused(&t, FRAX_VALUE, "with stride 9223372036854775807 along axis 1");
    t = tensor_of(data, 2, shape, NULL, (DLDataType){1, 8, 1});
    refused(&t, FRAX_TYPE, "of uint with 8 bits and 1 lanes; frax has f64");
    t = tensor_of(data, 2, shape, NULL, (DLDataType){kDLFloat, 32, 4});
    refused(&t, FRAX_TYPE, "4 lanes");
    t = tensor_of(data, 9, shape, NULL, f64);
    refused(&t, FRAX_SHAPE, "with 9 axes");
    t = tensor_of(data, 2, NULL, NULL, f64);
    refused(&t, FRAX_USAGE, "shape is NULL");
    t = tensor_of(data, 2, shape, NULL, f64);
    t.dl_tensor.device.device_type = 2;
    refused(&t, FRAX_UNSUPPORTED, "device type 2; frax runs on memory of the host");
    shape[1] = -1;
    t = tensor_of(data, 2, shape, NULL, f64);
    refused(&t, FRAX_SHAPE, "-1 elements along axis 1");

    FraxView view = frax_view((FraxTensor){.dtype = FRAX_F64, .rank = 1, .dims = {2}, .data = data});
    FraxError err;
    DLManagedTensor *out;
    DLManagedTensorVersioned versioned = {.version = {2, 0}};
    assert_int_equal(frax_view_from_dlpack(NULL, &view, NULL), FRAX_USAGE);
    assert_int_equal(frax_view_from_dlpack_versioned(&versioned, &view, &err), FRAX_UNSUPPORTED);
    view.strides[0] = 12;
    assert_int_equal(frax_view_to_dlpack(&view, NULL, NULL, &out, &err), FRAX_VALUE);
    assert_null(out);
    view.strides[0] = 8;
    view.read_only = 1;
    assert_int_equal(frax_view_to_dlpack(&view, NULL, NULL, &out, &err), FRAX_VALUE);
    assert_non_null(strstr(err.message, "only a versioned tensor"));
    assert_int_equal(frax_view_to_dlpack(NULL, NULL, NULL, &out, &err), FRAX_USAGE);
    view.read_only = 0;
    view.dims[0] = -4;
    assert_int_equal(frax_view_to_dlpack(&view, NULL, NULL, &out, &err), FRAX_SHAPE);
    view.dims[0] = INT64_MAX;
    view.data = NULL;
    view.read_only = 0;
    assert_int_equal(frax_view_to_dlpack(&view, NULL, NULL, &out, &err), FRAX_SHAPE);
    view.dims[0] = 2;
    for (int n = 1; n <= 2; n++) {
        mem_fail_after(n);
        assert_int_equal(frax_view_to_dlpack(&view, NULL, NULL, &out, &err), FRAX_MEMORY);
        mem_fail_after(0);
    }
}

static void count_release(void *context) {
    ++*(int *)context;
}

static void test_ownership(void **state) {
    (void)state;
    double data[2] = {1, 2};
    int released = 0;
    DLManagedTensorVersioned *out;
    FraxView view = frax_view((FraxTensor){.dtype = FRAX_F64, .rank = 1, .dims = {2}, .data = data}), again;
    view.read_only = 1;
    assert_int_equal(frax_view_to_dlpack_versioned(&view, count_release, &released, &out, NULL), FRAX_OK);
    assert_int_equal(frax_view_from_dlpack_versioned(out, &again, NULL), FRAX_OK);
    assert_memory_equal(&again, &view, sizeof view);
    assert_int_equal(released, 0);
    out->deleter(out);
    assert_int_equal(released, 1);
}

/* A transposed f32 tensor at an offset goes in, an output with its own memory comes out. */
static void test_run(void **state) {
    (void)state;
    FraxModel *model;
    FraxExecutable *exe;
    FraxOptions options = frax_default_options();
    options.sizes = (FraxSize[]){{"N", 3}};
    options.nsizes = 1;
    options.no_cache = 1;
    assert_int_equal(
        frax_model_parse("model m(x: f32[2, N]) {\n y = x + 1\n return y\n}\n", NULL, NULL, &model, NULL),
        FRAX_OK);
    assert_int_equal(frax_compile(model, &options, &exe, NULL), FRAX_OK);
    float data[] = {-1, 0, 1, 2, 3, 4, 5};
    int64_t shape[] = {2, 3}, strides[] = {1, 2};
    DLManagedTensor x = tensor_of(data, 2, shape, strides, (DLDataType){kDLFloat, 32, 1}), *y;
    x.dl_tensor.byte_offset = 4;
    FraxView views[2];
    assert_int_equal(frax_view_from_dlpack(&x, &views[0], NULL), FRAX_OK);
    views[1] = frax_view(frax_executable_type(exe, FRAX_OUTPUT, 0));
    assert_int_equal(frax_view_to_dlpack(&views[1], NULL, NULL, &y, NULL), FRAX_OK);
    assert_ptr_equal(views[1].data, y->dl_tensor.data);
    assert_int_equal((uintptr_t)views[1].data % 64, 0);
    assert_int_equal(frax_run_views(exe, views, 2, NULL), FRAX_OK);
    const float *result = y->dl_tensor.data, expected[] = {1, 3, 5, 2, 4, 6};
    assert_memory_equal(result, expected, sizeof expected);
    assert_int_equal(y->dl_tensor.shape[1], 3);
    assert_int_equal(y->dl_tensor.strides[0], 3);
    y->deleter(y);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),    cmocka_unit_test(test_dtypes), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_ownership), cmocka_unit_test(test_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
