/* cuda_lanes.c — values that change lanes, as shuffles of a warp. Lane i of a value is in thread i mod 32,
 * register i/32 (cuda_emitter.h); moves by 32 lanes or more are between registers and cost nothing. Of teams
 * of several warps, and of lanes that are packed, only reductions are asked for.
 */
#include "cuda_emitter.h"
#include <assert.h>

/* The value of the thread whose number differs in the bits of `bits`; a bool goes as an int. */
static Em exchanged(CudaEmitter *c, Em v, int bits) {
    Em operands[] = {v, c->base.ops->index(&c->base, bits)};
    return cuda_define(c, v.type, v.lanes,
                       v.type == EM_BOOL ? "0 != __shfl_xor_sync(FULL_WARP, (int)$a, $b)"
                                         : "__shfl_xor_sync(FULL_WARP, $a, $b)",
                       operands);
}

/* Registers [first, first + count) of v as a value of fewer lanes. */
static Em some_registers(CudaEmitter *c, Em v, int first, int count) {
    Em part = cuda_declare(c, v.type, count * c->base.team);
    for (int r = 0; r < count; r++)
        cuda_line(c, "const %s %s = %s;", cuda_type(v.type), cuda_register(c, part, r),
                  cuda_register(c, v, first + r));
    return part;
}

/* Across the warps of a team, whose lanes have their warp's value: each leaves it in shared memory. */
static Em reduce_warps(CudaEmitter *c, Op op, Em v) {
    int warps = c->base.team / WARP, array = c->names++;
    const char *type = cuda_type(v.type);
    text_printf(&c->variables, "    __shared__ %s reduced%d[%d];\n", type, array, warps);
    cuda_barrier(c);
    cuda_line(c, "if (lane %% 32 == 0) reduced%d[lane / 32] = %s;", array, cuda_register(c, v, 0));
    cuda_barrier(c);
    char form[64];
    snprintf(form, sizeof form, "reduced%d[lane & %d]", array, warps - 1);
    Em part = cuda_define(c, v.type, v.lanes, form, NULL);
    for (int bits = warps / 2; bits >= 1; bits /= 2)
        part = cuda_arith(&c->base, op, part, exchanged(c, part, bits));
    return part;
}

/* Halves are combined until one lane is left, which all threads then have: of the registers, then of the
   threads. */
Em cuda_reduce(Emitter *e, Op op, Em v) {
    CudaEmitter *c = cuda_self(e);
    while (v.lanes > c->base.team) {
        int half = cuda_registers(c, v.lanes) / 2;
        Em low = some_registers(c, v, 0, half), high = some_registers(c, v, half, half);
        v = cuda_arith(e, op, low, high);
    }
    bool crosses = v.lanes > WARP;
    for (int bits = MIN(v.lanes, WARP) / 2; bits >= 1; bits /= 2)
        v = cuda_arith(e, op, v, exchanged(c, v, bits));
    if (crosses) v = reduce_warps(c, op, v);
    return (Em){v.ref, v.type, 1};
}

/* Lanes whose number has the bit `unit`. */
static Em has_bit(CudaEmitter *c, int lanes, int unit) {
    Em bit = c->base.ops->index(&c->base, unit);
    return cuda_define(c, EM_BOOL, lanes, "0 != ($l & $a)", &bit);
}

/* Exchanges the odd units of a with the even units of b. */
static void exchange_units(CudaEmitter *c, Em *a, Em *b, int unit) {
    int step = unit / WARP;
    assert(!c->base.packed);
    if (!step) {
        Em odd = has_bit(c, a->lanes, unit);
        Em sent = cuda_define(c, a->type, a->lanes, "$a ? $b : $c", (Em[]){odd, *a, *b});
        Em got = exchanged(c, sent, unit);
        *a = cuda_define(c, a->type, a->lanes, "$a ? $b : $c", (Em[]){odd, got, *a});
        *b = cuda_define(c, a->type, a->lanes, "$a ? $b : $c", (Em[]){odd, *b, got});
        return;
    }
    Em x = cuda_declare(c, a->type, a->lanes), y = cuda_declare(c, a->type, a->lanes);
    for (int r = 0; r < cuda_registers(c, a->lanes); r++) {
        bool odd = r / step % 2;
        cuda_line(c, "const %s %s = %s;", cuda_type(a->type), cuda_register(c, x, r),
                  odd ? cuda_register(c, *b, r - step) : cuda_register(c, *a, r));
        cuda_line(c, "const %s %s = %s;", cuda_type(a->type), cuda_register(c, y, r),
                  odd ? cuda_register(c, *b, r) : cuda_register(c, *a, r + step));
    }
    *a = x;
    *b = y;
}

void cuda_transpose(Emitter *e, Em *v, int count, int unit) {
    CudaEmitter *c = cuda_self(e);
    for (int i = 0; i < count; i += 2) exchange_units(c, &v[i], &v[i + 1], unit);
    for (int i = 0; count == 4 && i < 2; i++) exchange_units(c, &v[i], &v[i + 2], 2 * unit);
}

/* A transposition with additions on the way: after a step of `unit` half as many vectors are left, each of
   sums of its two halves, for two values. */
Em cuda_sum_lanes(Emitter *e, const Em *values) {
    CudaEmitter *c = cuda_self(e);
    int n = values[0].lanes;
    Em part[64];
    for (int i = 0; i < n; i++) part[i] = values[i];
    for (int unit = n / 2; unit >= 1; unit /= 2)
        for (int i = 0; i < unit; i++) {
            exchange_units(c, &part[i], &part[i + unit], unit);
            part[i] = cuda_arith(e, OP_add, part[i], part[i + unit]);
        }
    return part[0];
}

/* Lane $a of register `from` of v. */
static Em moved(CudaEmitter *c, Em v, int from, const char *lane) {
    Em got = cuda_declare(c, v.type, WARP);
    cuda_line(c, "const %s %s = __shfl_sync(FULL_WARP, %s, %s);", cuda_type(v.type), cuda_register(c, got, 0),
              cuda_register(c, v, from), lane);
    return got;
}

Em cuda_reverse(Emitter *e, Em v) {
    CudaEmitter *c = cuda_self(e);
    assert(!c->base.packed);
    if (v.lanes == 1) return v;
    if (v.lanes <= WARP) return exchanged(c, v, v.lanes - 1);
    Em result = cuda_declare(c, v.type, v.lanes);
    int registers = cuda_registers(c, v.lanes);
    for (int r = 0; r < registers; r++)
        cuda_line(c, "const %s %s = __shfl_xor_sync(FULL_WARP, %s, %d);", cuda_type(v.type),
                  cuda_register(c, result, r), cuda_register(c, v, registers - 1 - r), WARP - 1);
    return result;
}

/* Register R of the result: its lane j comes from vector j / unit % count, lane
   j / (count·unit)·unit + j % unit. */
static void interleaved_register(CudaEmitter *c, const Em *v, int count, int unit, Em result, int R) {
    int from = c->names++, lanes = v[0].lanes;
    const char *lane = cuda_lane(c, result.lanes, R);
    cuda_line(c, "const int from%d = %s / %d * %d + %s %% %d;", from, lane, count * unit, unit, lane, unit);
    char source[40], choice[40];
    snprintf(source, sizeof source, "from%d & 31", from);
    snprintf(choice, sizeof choice, "from%d / 32", from);
    Em best = {0};
    for (int k = 0; k < count; k++)
        for (int s = 0; s < cuda_registers(c, lanes); s++) {
            Em got = moved(c, v[k], s, source);
            if (best.ref) {
                Em next = cuda_declare(c, got.type, WARP);
                cuda_line(c, "const %s %s = %s / %d %% %d == %d && %s == %d ? %s : %s;", cuda_type(got.type),
                          cuda_register(c, next, 0), lane, unit, count, k, choice, s,
                          cuda_register(c, got, 0), cuda_register(c, best, 0));
                got = next;
            }
            best = got;
        }
    cuda_line(c, "const %s %s = %s;", cuda_type(best.type), cuda_register(c, result, R),
              cuda_register(c, best, 0));
}

Em cuda_interleave(Emitter *e, const Em *v, int count, int unit) {
    CudaEmitter *c = cuda_self(e);
    assert(!c->base.packed);
    Em result = cuda_declare(c, v[0].type, count * v[0].lanes);
    for (int r = 0; r < cuda_registers(c, result.lanes); r++)
        interleaved_register(c, v, count, unit, result, r);
    return result;
}
