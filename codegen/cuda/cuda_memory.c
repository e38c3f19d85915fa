/* cuda_memory.c — loads, stores and tables of the CUDA emitter.
 *
 * Hazards. The lanes of a team see each other's writes only across a barrier. Scratch, workspace and
 * whatever a function is handed by pointer is shared between lanes: there a load waits for writes before it,
 * a store for reads. The buffers of values are not: a lane that overwrites an element in place has read it
 * itself. But where threads repeat a lane, or a value is uniform, one thread stores, and all must have loaded
 * before. Loops and branches begin, and rounds end, with nothing pending but such loads of values, so that
 * the text from one barrier to the next is straight.
 *
 * Packed functions (cuda_emitter.h) move what a thread has of neighbouring elements at once, up to 16 bytes,
 * where the address is known to be a multiple of that: arrays begin at multiples of 16 bytes, for launchers
 * that `frax compile` writes refuse others. Of a masked access the mask must be the same for all that a
 * thread has. Otherwise elements are moved one by one.
 */
#include "cuda_emitter.h"
#include "program.h"
#include <assert.h>
#include <math.h>
#include <string.h>

const char *cuda_memory_type(FraxDType dtype) {
    switch (dtype) {
    case FRAX_F64: return "double";
    case FRAX_F32: return "float";
    case FRAX_I32: return "int";
    case FRAX_BOOL: return "unsigned char";
    default: return "unsigned short";
    }
}

static const CudaValue *pointer_value(Em base) {
    return base.ref;
}

/* ---- Hazards ---- */

static void before_load(CudaEmitter *c, Em base) {
    bool shared = pointer_value(base)->is_shared;
    if (shared && c->writes) cuda_sync(c);
    c->loads = true;
    c->reads |= shared;
}

static void before_store(CudaEmitter *c, Em base, bool one_of_many) {
    bool shared = pointer_value(base)->is_shared;
    if (shared && c->reads) cuda_sync(c);
    if (one_of_many && (c->loads || (c->earlier && !shared))) {
        c->reads = true;
        cuda_sync(c);
    }
    c->writes |= shared;
}

/* ---- Addresses ---- */

Em cuda_pointer(Emitter *e, Em base, Em bytes) {
    Em at = cuda_define(cuda_self(e), EM_POINTER, 1, "$a + $b", (Em[]){base, bytes});
    CudaValue *v = at.ref;
    v->is_shared = pointer_value(base)->is_shared;
    v->multiple = MIN(cuda_multiple(base), cuda_multiple(bytes));
    return at;
}

/* Fields of the context, and addresses of arrays. The workspace holds what warps of later launches read, and
   this one's lanes. */
Em cuda_load_pointer(Emitter *e, Em base, int64_t bytes) {
    CudaEmitter *c = cuda_self(e);
    Em at = cuda_define(c, EM_POINTER, 1, "*(char *const *)($a + $b)", (Em[]){base, e->ops->index(e, bytes)});
    bool is_workspace = bytes == offsetof(KernelContext, workspace);
    bool is_static = bytes == offsetof(KernelContext, statics) && c->is_prepare;
    CudaValue *v = at.ref;
    v->is_shared = pointer_value(base)->is_context && (is_workspace || is_static);
    v->multiple = CUDA_ACCESS_BYTES;
    return at;
}

void cuda_exchange_memory(Emitter *e, size_t bytes, size_t apart, Em exchange[2]) {
    CudaEmitter *c = cuda_self(e);
    for (int part = 0; part < 2; part++) {
        char form[80];
        if (c->base.team > WARP) bytes = 0; /* the only team of its block */
        snprintf(form, sizeof form, "shared + threadIdx.x / 32 * %zu + %zu", bytes, part ? apart : 0);
        exchange[part] = cuda_define(c, EM_POINTER, 1, form, NULL);
        ((CudaValue *)exchange[part].ref)->is_shared = true;
    }
}

/* ---- Tables ---- */

typedef struct CudaTable {
    uint64_t hash;
    int64_t count;
    FraxDType dtype;
    int name;
} CudaTable;

static void print_table(CudaEmitter *c, const CudaTable *table, const double *values) {
    char text[32];
    text_printf(&c->tables, "static __device__ const %s table%d[%lld] = {", cuda_memory_type(table->dtype),
                table->name, (long long)table->count);
    for (int64_t i = 0; i < table->count; i++) {
        const char *after = i + 1 < table->count ? ", " : "";
        if (i % 8 == 0) text_printf(&c->tables, "\n    ");
        bool is_f32 = table->dtype == FRAX_F32;
        double v = is_f32 ? (double)(float)values[i] : values[i];
        assert(isfinite(v)); /* roots of unity, places and factors; an initializer could not call INF64 */
        double_text(v, text);
        if (table->dtype == FRAX_I32)
            text_printf(&c->tables, "%d%s", (int)v, after);
        else
            text_printf(&c->tables, "%s%s%s%s", text, strpbrk(text, ".e") ? "" : ".0", is_f32 ? "f" : "",
                        after);
    }
    text_printf(&c->tables, "\n};\n");
}

/* Equal tables are one. */
Em cuda_table(Emitter *e, FraxDType dtype, const double *values, int64_t count) {
    CudaEmitter *c = cuda_self(e);
    uint64_t hash = hash_bytes(17, values, (size_t)count * sizeof *values);
    CudaTable *found = NULL;
    for (size_t i = 0; i < c->nconstants && !found; i++)
        if (c->constants[i].hash == hash && c->constants[i].count == count && c->constants[i].dtype == dtype)
            found = &c->constants[i];
    if (!found && mem_grow(&c->constants, &c->constants_capacity, c->nconstants + 1, sizeof *c->constants)) {
        found = &c->constants[c->nconstants];
        *found = (CudaTable){hash, count, dtype, (int)c->nconstants++};
        print_table(c, found, values);
    }
    Em at = cuda_declare(c, EM_POINTER, 1);
    CudaValue *v = at.ref;
    v->is_named = false;
    c->out_of_memory |= !found;
    snprintf(v->text, sizeof v->text, "((char *)table%d)", found ? found->name : 0);
    return at;
}

/* ---- Elements ---- */

/* As C reads it from memory. */
static const char *from_memory(FraxDType dtype) {
    switch (dtype) {
    case FRAX_BF16: return "bf16_to_f32";
    case FRAX_F16: return "f16_to_f32";
    case FRAX_BOOL: return "0 != ";
    default: return "";
    }
}

static const char *to_memory(FraxDType dtype) {
    switch (dtype) {
    case FRAX_BF16: return "f32_to_bf16";
    case FRAX_F16: return "f32_to_f16";
    default: return "";
    }
}

Em cuda_round_to(Emitter *e, Em value, FraxDType dtype) {
    const char *form = dtype == FRAX_BF16 ? "bf16_to_f32(f32_to_bf16($a))" : "f16_to_f32(f32_to_f16($a))";
    return cuda_define(cuda_self(e), EM_F32, value.lanes, form, &value);
}

static const char *word_type(FraxDType dtype) {
    switch (dtype) {
    case FRAX_F64: return "double";
    case FRAX_F32: return "float";
    case FRAX_I32: return "int";
    case FRAX_BOOL: return "uchar";
    default: return "ushort";
    }
}

static const char word_parts[] = "xyzw";

/* Elements at, at + stride, … and the value that is loaded from them, or stored. */
typedef struct Access {
    Em base;
    FraxDType dtype;
    Em at;
    int64_t stride;
    Em value, mask;
} Access;

/* How many registers of the value are moved at once: 2 or 4, or 1. */
static int registers_at_once(CudaEmitter *c, const Access *a) {
    int size = (int)frax_dtype_size(a->dtype), registers = cuda_registers(c, a->value.lanes);
    int count = MIN(MIN(registers, CUDA_ACCESS_BYTES / size), 4);
    bool is_whole = !a->mask.ref || a->mask.lanes == 1 || ((const CudaValue *)a->mask.ref)->is_whole;
    bool is_aligned = cuda_multiple(a->at) % count == 0 && cuda_multiple(a->base) % (count * size) == 0;
    return c->base.packed && a->stride == 1 && is_whole && is_aligned ? count : 1;
}

/* The element of register r. */
static void place_text(CudaEmitter *c, const Access *a, int r, char text[160]) {
    const char *first = cuda_register(c, a->at, 0);
    int lanes = a->value.lanes;
    if (lanes == 1 || a->stride == 0)
        snprintf(text, 160, "%s", first);
    else if (a->stride == 1)
        snprintf(text, 160, "%s + %s", first, cuda_lane(c, lanes, r));
    else
        snprintf(text, 160, "%s + %lld * %s", first, (long long)a->stride, cuda_lane(c, lanes, r));
}

/* ---- Loads ---- */

static void load_one(CudaEmitter *c, const Access *a, int r) {
    char place[160];
    place_text(c, a, r, place);
    const char *mask = a->mask.ref ? cuda_register(c, a->mask, r) : NULL;
    cuda_line(c, "const %s %s = %s%s%s(((const %s *)%s)[%s])%s;", cuda_type(a->value.type),
              cuda_register(c, a->value, r), mask ? mask : "", mask ? " ? " : "", from_memory(a->dtype),
              cuda_memory_type(a->dtype), pointer_value(a->base)->text, place, mask ? " : 0" : "");
}

/* Registers [r, r + count). */
static void load_word(CudaEmitter *c, const Access *a, int r, int count) {
    const char *type = word_type(a->dtype);
    char place[160], word[240];
    int name = c->names++;
    place_text(c, a, r, place);
    snprintf(word, sizeof word, "WORD(const %s%d, (const %s *)%s + (%s))", type, count,
             cuda_memory_type(a->dtype), pointer_value(a->base)->text, place);
    if (a->mask.ref) {
        cuda_line(c, "%s%d w%d = {0, 0%s};", type, count, name, count == 4 ? ", 0, 0" : "");
        cuda_line(c, "if (%s) w%d = %s;", cuda_register(c, a->mask, r), name, word);
    } else {
        cuda_line(c, "const %s%d w%d = %s;", type, count, name, word);
    }
    for (int i = 0; i < count; i++)
        cuda_line(c, "const %s %s = %s(w%d.%c);", cuda_type(a->value.type), cuda_register(c, a->value, r + i),
                  from_memory(a->dtype), name, word_parts[i]);
}

Em cuda_load(Emitter *e, Em base, FraxDType dtype, Em at, int64_t stride, int lanes, Em mask) {
    CudaEmitter *c = cuda_self(e);
    before_load(c, base);
    Em value = cuda_declare(c, em_type_of(dtype), lanes);
    const Access access = {base, dtype, at, stride, value, mask};
    int count = registers_at_once(c, &access);
    for (int r = 0; r < cuda_registers(c, lanes); r += count)
        if (count > 1)
            load_word(c, &access, r, count);
        else
            load_one(c, &access, r);
    return value;
}

/* ---- Stores ---- */

/* Which threads write register r of a value: those whose mask is true, each lane once. */
static void store_condition(CudaEmitter *c, Em value, Em mask, int r, char text[80]) {
    char own[24] = "";
    if (value.lanes == 1) snprintf(own, sizeof own, "lane == 0");
    if (value.lanes > 1 && value.lanes < c->base.team) snprintf(own, sizeof own, "lane < %d", value.lanes);
    const char *m = mask.ref ? cuda_register(c, mask, r) : "";
    if (!*m && !*own)
        text[0] = '\0';
    else
        snprintf(text, 80, "if (%s%s%s) ", own, *m && *own ? " && " : "", m);
}

static void store_one(CudaEmitter *c, const Access *a, int r) {
    char place[160], condition[80];
    place_text(c, a, r, place);
    store_condition(c, a->value, a->mask, r, condition);
    cuda_line(c, "%s((%s *)%s)[%s] = %s(%s);", condition, cuda_memory_type(a->dtype),
              pointer_value(a->base)->text, place, to_memory(a->dtype), cuda_register(c, a->value, r));
}

/* Registers [r, r + count). */
static void store_word(CudaEmitter *c, const Access *a, int r, int count) {
    const char *type = word_type(a->dtype);
    char place[160], condition[80], parts[4][64] = {"", "", "", ""};
    int name = c->names++;
    place_text(c, a, r, place);
    store_condition(c, a->value, a->mask, r, condition);
    for (int i = 0; i < count; i++)
        snprintf(parts[i], sizeof parts[i], "%s%s(%s)", i ? ", " : "", to_memory(a->dtype),
                 cuda_register(c, a->value, r + i));
    cuda_line(c, "const %s%d w%d = {%s%s%s%s};", type, count, name, parts[0], parts[1], parts[2], parts[3]);
    cuda_line(c, "%sWORD(%s%d, (%s *)%s + (%s)) = w%d;", condition, type, count, cuda_memory_type(a->dtype),
              pointer_value(a->base)->text, place, name);
}

void cuda_store(Emitter *e, Em base, FraxDType dtype, Em at, int64_t stride, Em value, Em mask) {
    CudaEmitter *c = cuda_self(e);
    before_store(c, base, value.lanes < c->base.team);
    const Access access = {base, dtype, at, stride, value, mask};
    int count = registers_at_once(c, &access);
    for (int r = 0; r < cuda_registers(c, value.lanes); r += count)
        if (count > 1)
            store_word(c, &access, r, count);
        else
            store_one(c, &access, r);
}

/* ---- Places of all lanes ---- */

Em cuda_gather(Emitter *e, Em base, FraxDType dtype, Em places) {
    CudaEmitter *c = cuda_self(e);
    char form[96];
    before_load(c, base);
    snprintf(form, sizeof form, "%s(((const %s *)$a)[$b])", from_memory(dtype), cuda_memory_type(dtype));
    return cuda_define(c, em_type_of(dtype), places.lanes, form, (Em[]){base, places});
}

void cuda_scatter(Emitter *e, Em base, FraxDType dtype, Em places, Em value) {
    CudaEmitter *c = cuda_self(e);
    before_store(c, base, places.lanes < c->base.team);
    for (int r = 0; r < cuda_registers(c, places.lanes); r++) {
        char condition[80];
        store_condition(c, places, (Em){0}, r, condition);
        cuda_line(c, "%s((%s *)%s)[%s] = %s(%s);", condition, cuda_memory_type(dtype),
                  pointer_value(base)->text, cuda_register(c, places, r), to_memory(dtype),
                  cuda_register(c, value, r));
    }
}

void cuda_prefetch(Emitter *e, Em base, FraxDType dtype, Em at, bool write) {
    (void)e, (void)base, (void)dtype, (void)at, (void)write; /* other warps hide the latency */
}

/* ---- Complex elements, interleaved in memory ---- */

void cuda_load_complex(Emitter *e, Em base, FraxDType dtype, Em at, int lanes, Em *re, Em *im) {
    Em first = e->ops->index_op(e, INDEX_MUL, at, e->ops->index(e, 2));
    Em second = e->ops->index_op(e, INDEX_ADD, first, e->ops->index(e, 1));
    *re = cuda_load(e, base, dtype, first, 2, lanes, (Em){0});
    *im = cuda_load(e, base, dtype, second, 2, lanes, (Em){0});
}

void cuda_store_complex(Emitter *e, Em base, FraxDType dtype, Em at, Em re, Em im) {
    Em first = e->ops->index_op(e, INDEX_MUL, at, e->ops->index(e, 2));
    Em second = e->ops->index_op(e, INDEX_ADD, first, e->ops->index(e, 1));
    int lanes = MAX(re.lanes, im.lanes);
    cuda_store(e, base, dtype, first, 2, e->ops->splat(e, re, lanes), (Em){0});
    cuda_store(e, base, dtype, second, 2, e->ops->splat(e, im, lanes), (Em){0});
}
