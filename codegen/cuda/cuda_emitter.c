/* cuda_emitter.c — emitter.h as CUDA C text: values, control flow, functions. See cuda_emitter.h. */
#include "cuda_emitter.h"
#include "program.h"
#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- Text ---- */

const char *cuda_type(EmType type) {
    switch (type) {
    case EM_F64: return "double";
    case EM_F32: return "float";
    case EM_I32: return "int";
    case EM_BOOL: return "bool";
    case EM_INDEX: return "idx";
    default: return "char *";
    }
}

void cuda_line(CudaEmitter *c, const char *fmt, ...) {
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    text_printf(&c->body, "%*s%s\n", 4 * c->depth, "", line);
}

static const char *keep_text(CudaEmitter *c, const char *text) {
    if (text) return text;
    c->out_of_memory = true; /* reported at the end; until then emission goes on */
    return "0";
}

static CudaValue *new_value(CudaEmitter *c) {
    static CudaValue spare;
    CudaValue *v = arena_alloc(&c->arena, sizeof *v);
    if (v) return v;
    c->out_of_memory = true;
    return &spare;
}

const char *cuda_register(CudaEmitter *c, Em value, int r) {
    const CudaValue *v = value.ref;
    if (!v->is_named || cuda_registers(c, value.lanes) == 1) return v->text;
    return keep_text(c, arena_printf(&c->arena, "%s_%d", v->text, r));
}

const char *cuda_lane(CudaEmitter *c, int lanes, int r) {
    int team = c->base.team;
    if (lanes > team && c->base.packed)
        return keep_text(c, arena_printf(&c->arena, r ? "(%d * lane + %d)" : "%d * lane", lanes / team, r));
    if (lanes == team || (lanes > team && r == 0)) return "lane";
    if (lanes > team) return keep_text(c, arena_printf(&c->arena, "(lane + %d)", r * team));
    return keep_text(c, arena_printf(&c->arena, "(lane & %d)", lanes - 1));
}

/* An expression: `fmt` with its placeholders replaced. */
static void expand(CudaEmitter *c, const char *fmt, const Em *operands, int lanes, int r) {
    for (; *fmt; fmt++) {
        if (*fmt != '$')
            text_append(&c->body, fmt, 1);
        else if (*++fmt == 'l')
            text_printf(&c->body, "%s", cuda_lane(c, lanes, r));
        else
            text_printf(&c->body, "%s", cuda_register(c, operands[*fmt - 'a'], r));
    }
}

Em cuda_declare(CudaEmitter *c, EmType type, int lanes) {
    CudaValue *v = new_value(c);
    snprintf(v->text, sizeof v->text, "v%d", c->names++);
    v->is_named = true;
    return (Em){v, type, lanes};
}

Em cuda_define(CudaEmitter *c, EmType type, int lanes, const char *fmt, const Em *operands) {
    Em value = cuda_declare(c, type, lanes);
    const char *spelling = type == EM_POINTER ? "char *const" : cuda_type(type);
    for (int r = 0; r < cuda_registers(c, lanes); r++) {
        text_printf(&c->body, "%*s%s%s %s = ", 4 * c->depth, "", type == EM_POINTER ? "" : "const ", spelling,
                    cuda_register(c, value, r));
        expand(c, fmt, operands, lanes, r);
        text_append(&c->body, ";\n", 2);
    }
    return value;
}

static Em literal(CudaEmitter *c, EmType type, const char *text) {
    CudaValue *v = new_value(c);
    snprintf(v->text, sizeof v->text, "%s", text);
    return (Em){v, type, 1};
}

/* ---- Constants ---- */

static void float_text(double value, bool is_f32, char text[40]) {
    char digits[32];
    if (is_f32) value = (double)(float)value;
    double_text(fabs(value), digits);
    const char *point = strpbrk(digits, ".e") ? "" : ".0", *sign = signbit(value) ? "-" : "";
    if (isfinite(value))
        snprintf(text, 40, signbit(value) ? "(%s%s%s%s)" : "%s%s%s%s", sign, digits, point,
                 is_f32 ? "f" : "");
    else
        snprintf(text, 40, "%s(%s%s)", is_f32 ? "(float)" : "", sign, isnan(value) ? "NAN64" : "INF64");
}

static Em em_constant(Emitter *e, EmType type, double value) {
    char text[40];
    if (type == EM_F64 || type == EM_F32)
        float_text(value, type == EM_F32, text);
    else if (value == INT32_MIN)
        snprintf(text, sizeof text, "(-%d - 1)", INT32_MAX);
    else
        snprintf(text, sizeof text, value < 0 ? "(%lld)" : "%lld", (long long)value);
    return literal(cuda_self(e), type, text);
}

static Em em_index(Emitter *e, int64_t value) {
    char text[40];
    snprintf(text, sizeof text, value < 0 ? "(%lld%s)" : "%lld%s", (long long)value,
             value > INT32_MAX || value < -INT32_MAX ? "ll" : "");
    Em index = literal(cuda_self(e), EM_INDEX, text);
    ((CudaValue *)index.ref)->is_number = true;
    ((CudaValue *)index.ref)->number = value;
    return index;
}

/* ---- Places ---- */

enum { MOST_MULTIPLE = 1 << 16 };

int cuda_multiple(Em value) {
    const CudaValue *v = value.ref;
    int multiple = 1;
    if (!v->is_number) return MAX(v->multiple, 1);
    while (multiple < MOST_MULTIPLE && v->number % (2 * multiple) == 0) multiple *= 2;
    return multiple;
}

static Em with_multiple(Em value, int multiple) {
    ((CudaValue *)value.ref)->multiple = value.lanes == 1 ? multiple : 1;
    return value;
}

/* Of the result of an operation. */
static int multiple_of(IndexOp op, Em a, Em b) {
    int x = cuda_multiple(a), y = cuda_multiple(b);
    if (op == INDEX_MUL) return (int)MIN((int64_t)x * y, MOST_MULTIPLE);
    return op == INDEX_DIV ? 1 : MIN(x, y);
}

/* A place known now. */
static bool is_known(Em a, int64_t *value) {
    const CudaValue *v = a.ref;
    *value = v->number;
    return v->is_number;
}

static Em em_index_op(Emitter *e, IndexOp op, Em a, Em b) {
    static const char *const forms[] = {
        [INDEX_ADD] = "$a + $b",
        [INDEX_SUB] = "$a - $b",
        [INDEX_MUL] = "$a * $b",
        [INDEX_DIV] = "(idx)((uidx)$a / (uidx)$b)",
        [INDEX_REM] = "(idx)((uidx)$a % (uidx)$b)",
        [INDEX_MIN] = "$a < $b ? $a : $b",
    };
    int64_t x, y;
    bool known_a = is_known(a, &x), known_b = is_known(b, &y);
    if (known_a && known_b && x >= 0 && y >= 0) switch (op) {
        case INDEX_ADD: return em_index(e, x + y);
        case INDEX_SUB: return em_index(e, x - y);
        case INDEX_MUL: return em_index(e, x * y);
        case INDEX_DIV: return em_index(e, x / MAX(y, 1));
        case INDEX_REM: return em_index(e, x % MAX(y, 1));
        case INDEX_MIN: return em_index(e, MIN(x, y));
        }
    bool keeps = op == INDEX_MUL || op == INDEX_DIV ? y == 1 : y == 0;
    if (known_b && keeps && op != INDEX_REM && op != INDEX_MIN) return a;
    if (known_b && y == 1 && op == INDEX_REM) return em_index(e, 0);
    if (known_a && x == 0 && op == INDEX_ADD) return b;
    Em result = cuda_define(cuda_self(e), EM_INDEX, MAX(a.lanes, b.lanes), forms[op], (Em[]){a, b});
    return with_multiple(result, multiple_of(op, a, b));
}

static Em em_index_less(Emitter *e, Em a, Em b) {
    int64_t x, y;
    if (is_known(a, &x) && is_known(b, &y)) return em_constant(e, EM_BOOL, (uint64_t)x < (uint64_t)y);
    CudaEmitter *c = cuda_self(e);
    Em less = cuda_define(c, EM_BOOL, MAX(a.lanes, b.lanes), "(uidx)$a < (uidx)$b", (Em[]){a, b});
    bool is_whole = ((CudaValue *)a.ref)->is_whole && b.lanes == 1;
    ((CudaValue *)less.ref)->is_whole = is_whole && cuda_multiple(b) % cuda_registers(c, a.lanes) == 0;
    return less;
}

static Em em_index_lanes(Emitter *e, Em first, int64_t step, int lanes) {
    CudaEmitter *c = cuda_self(e);
    if (lanes == 1) return first;
    if (step == 1) {
        Em places = cuda_define(c, EM_INDEX, lanes, "$a + $l", &first);
        bool is_whole = c->base.packed && cuda_multiple(first) % cuda_registers(c, lanes) == 0;
        ((CudaValue *)places.ref)->is_whole = is_whole;
        return places;
    }
    return cuda_define(cuda_self(e), EM_INDEX, lanes, "$a + $b * $l", (Em[]){first, em_index(e, step)});
}

/* ---- Lanes ---- */

/* A uniform value is in all threads already; what is written in lanes may be a constant. */
static Em em_splat(Emitter *e, Em v, int lanes) {
    if (v.lanes == lanes) return v;
    if (cuda_registers(cuda_self(e), lanes) == 1 || !((CudaValue *)v.ref)->is_named)
        return (Em){v.ref, v.type, lanes};
    return cuda_define(cuda_self(e), v.type, lanes, "$a", &v);
}

static Em em_fma(Emitter *e, Em a, Em b, Em c) {
    int lanes = MAX(MAX(a.lanes, b.lanes), c.lanes);
    return cuda_define(cuda_self(e), a.type, lanes, a.type == EM_F64 ? "fma($a, $b, $c)" : "fmaf($a, $b, $c)",
                       (Em[]){a, b, c});
}

static Em em_fnma(Emitter *e, Em a, Em b, Em c) {
    int lanes = MAX(MAX(a.lanes, b.lanes), c.lanes);
    return cuda_define(cuda_self(e), a.type, lanes,
                       a.type == EM_F64 ? "fma(-$a, $b, $c)" : "fmaf(-$a, $b, $c)", (Em[]){a, b, c});
}

static Em em_select(Emitter *e, Em condition, Em yes, Em no) {
    int lanes = MAX(MAX(yes.lanes, no.lanes), condition.lanes);
    return cuda_define(cuda_self(e), yes.type, lanes, "$a ? $b : $c", (Em[]){condition, yes, no});
}

/* ---- Variables ---- */

static Em em_variable(Emitter *e, EmType type, int lanes) {
    CudaEmitter *c = cuda_self(e);
    Em cell = cuda_declare(c, type, lanes);
    for (int r = 0; r < cuda_registers(c, lanes); r++)
        text_printf(&c->variables, "    %s%s%s;\n", cuda_type(type), type == EM_POINTER ? "" : " ",
                    cuda_register(c, cell, r));
    return cell;
}

static Em em_get(Emitter *e, Em variable, EmType type, int lanes) {
    return cuda_define(cuda_self(e), type, lanes, "$a", &variable);
}

static void em_set(Emitter *e, Em variable, Em value) {
    CudaEmitter *c = cuda_self(e);
    for (int r = 0; r < cuda_registers(c, variable.lanes); r++)
        cuda_line(c, "%s = %s;", cuda_register(c, variable, r), cuda_register(c, value, r));
}

/* ---- Control flow: the same in all threads ---- */

void cuda_barrier(CudaEmitter *c) {
    cuda_line(c, c->base.team > WARP ? "__syncthreads();" : "__syncwarp();");
    c->reads = c->writes = c->loads = c->earlier = false;
}

void cuda_sync(CudaEmitter *c) {
    if (c->reads || c->writes) cuda_barrier(c);
    c->earlier |= c->loads;
    c->loads = false;
}

/* A block of text begins where nothing is pending but loads of values. */
static CudaEmitter *with_nothing_pending(Emitter *e) {
    cuda_sync(cuda_self(e));
    return cuda_self(e);
}

static EmLoop em_loop_begin(Emitter *e, Em first, Em end, int64_t step) {
    CudaEmitter *c = with_nothing_pending(e);
    Em index = cuda_declare(c, EM_INDEX, 1);
    with_multiple(index, MIN(cuda_multiple(first), cuda_multiple(em_index(e, step))));
    const char *i = cuda_register(c, index, 0);
    cuda_line(c, "for (idx %s = %s; %s < %s; %s += %lld) {", i, cuda_register(c, first, 0), i,
              cuda_register(c, end, 0), i, (long long)step);
    c->depth++;
    c->earlier = true; /* of the round before */
    return (EmLoop){.index = index};
}

static void block_ends(CudaEmitter *c, const char *rest) {
    c->depth--;
    cuda_line(c, "}%s", rest);
}

/* The next round must not meet this one's. */
static void em_loop_end(Emitter *e, EmLoop *loop) {
    (void)loop;
    block_ends(with_nothing_pending(e), "");
}

static void *em_repeat_begin(Emitter *e) {
    Em again = em_variable(e, EM_BOOL, 1);
    CudaEmitter *c = with_nothing_pending(e);
    cuda_line(c, "do {");
    c->depth++;
    c->earlier = true;
    return again.ref;
}

static void em_repeat_end(Emitter *e, void *repeat, Em again) {
    char rest[64];
    em_set(e, (Em){repeat, EM_BOOL, 1}, again);
    snprintf(rest, sizeof rest, " while (%s);", ((CudaValue *)repeat)->text);
    block_ends(with_nothing_pending(e), rest);
}

static EmIf em_if_begin(Emitter *e, Em condition) {
    CudaEmitter *c = with_nothing_pending(e);
    cuda_line(c, "if (%s) {", cuda_register(c, condition, 0));
    c->depth++;
    return (EmIf){0};
}

static void em_if_end(Emitter *e, EmIf *branch) {
    (void)branch;
    cuda_self(e)->earlier = true; /* a barrier within may not have been met */
    block_ends(cuda_self(e), "");
}

/* ---- Functions ---- */

static void signature(Text *out, const char *name, const EmType *types, int count, const Em *params) {
    text_printf(out, "static __device__ void %s(", name);
    for (int i = 0; i < count; i++)
        text_printf(out, "%s%s%s%s", i ? ", " : "", cuda_type(types[i]), types[i] == EM_POINTER ? "" : " ",
                    params ? ((CudaValue *)params[i].ref)->text : "");
    text_printf(out, ")");
}

static void em_call(Emitter *e, const char *name, const Em *args, int nargs) {
    CudaEmitter *c = cuda_self(e);
    cuda_sync(c);
    text_printf(&c->body, "%*s%s(", 4 * c->depth, "", name);
    for (int i = 0; i < nargs; i++)
        text_printf(&c->body, "%s%s", i ? ", " : "", cuda_register(c, args[i], 0));
    text_printf(&c->body, ");\n");
}

/* The first parameter of a kernel is its context; all other pointers are to memory that lanes share. */
static void em_function_begin(Emitter *e, const char *name, const EmType *types, int count, Em *params) {
    CudaEmitter *c = cuda_self(e);
    bool is_kernel = count == 4 && types[3] == EM_INDEX;
    static const char *const kernel_names[] = {"context", "scratch", "begin", "end"};
    char text[16];
    for (int i = 0; i < count; i++) {
        snprintf(text, sizeof text, "p%d", i);
        params[i] = literal(c, types[i], is_kernel ? kernel_names[i] : text);
        CudaValue *v = params[i].ref;
        v->is_context = is_kernel && i == 0;
        v->is_shared = types[i] == EM_POINTER && !v->is_context;
        if (is_kernel && types[i] == EM_POINTER) v->multiple = CUDA_ACCESS_BYTES;
    }
    size_t length = strlen(name);
    c->is_prepare = length > 8 && !strcmp(name + length - 8, "_prepare");
    signature(&c->prototypes, name, types, count, NULL);
    text_printf(&c->prototypes, ";\n");
    text_printf(&c->functions, "\n");
    signature(&c->functions, name, types, count, params);
    c->variables.len = c->body.len = 0;
    c->loads = c->earlier = c->reads = c->writes = false;
    c->depth = 1;
}

static void em_function_end(Emitter *e) {
    CudaEmitter *c = cuda_self(e);
    cuda_sync(c);
    text_printf(&c->functions, " {\n    const int lane = %s;\n",
                c->base.team > WARP ? "(int)threadIdx.x" : "LANE");
    text_append(&c->functions, c->variables.data, c->variables.len);
    text_append(&c->functions, c->body.data, c->body.len);
    text_printf(&c->functions, "    (void)lane;\n}\n");
}

/* ---- The emitter ---- */

static const EmitterOps cuda_ops = {
    .function_begin = em_function_begin,
    .function_end = em_function_end,
    .constant = em_constant,
    .index = em_index,
    .index_op = em_index_op,
    .index_less = em_index_less,
    .index_lanes = em_index_lanes,
    .convert = cuda_convert,
    .round_to = cuda_round_to,
    .pointwise = cuda_pointwise,
    .arith = cuda_arith,
    .fma = em_fma,
    .fnma = em_fnma,
    .select = em_select,
    .splat = em_splat,
    .reduce = cuda_reduce,
    .sum_lanes = cuda_sum_lanes,
    .interleave = cuda_interleave,
    .reverse = cuda_reverse,
    .transpose = cuda_transpose,
    .table = cuda_table,
    .pointer = cuda_pointer,
    .load_pointer = cuda_load_pointer,
    .load = cuda_load,
    .store = cuda_store,
    .gather = cuda_gather,
    .prefetch = cuda_prefetch,
    .load_complex = cuda_load_complex,
    .store_complex = cuda_store_complex,
    .variable = em_variable,
    .get = em_get,
    .set = em_set,
    .loop_begin = em_loop_begin,
    .loop_end = em_loop_end,
    .repeat_begin = em_repeat_begin,
    .repeat_end = em_repeat_end,
    .if_begin = em_if_begin,
    .if_end = em_if_end,
    .call = em_call,
};

CudaEmitter *cuda_emitter_create(void) {
    CudaEmitter *c = mem_calloc(1, sizeof *c);
    if (!c) return NULL;
    c->base.ops = &cuda_ops;
    c->base.vector_bytes = CUDA_VECTOR_BYTES;
    c->base.packed_bytes = CUDA_PACKED_BYTES;
    c->base.team = WARP;
    return c;
}

void cuda_emitter_destroy(CudaEmitter *c) {
    if (!c) return;
    arena_free(&c->arena);
    text_free(&c->prototypes);
    text_free(&c->tables);
    text_free(&c->functions);
    text_free(&c->variables);
    text_free(&c->body);
    mem_free(c->constants);
    mem_free(c);
}

bool cuda_emitter_text(const CudaEmitter *c, Text *out) {
    const Text *parts[] = {&c->tables, &c->prototypes, &c->functions};
    bool ok = !c->out_of_memory && !c->variables.failed && !c->body.failed;
    for (size_t i = 0; i < COUNT(parts); i++) {
        ok = ok && !parts[i]->failed;
        if (parts[i]->len) text_append(out, parts[i]->data, parts[i]->len);
    }
    return ok && !out->failed;
}
