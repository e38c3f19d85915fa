/* pair_plan.c — plans of the transforms of pair_fft.h: vectors, radices, and the order of the bins that
 * follows from them.
 *
 * A block of L = r·m elements passes by radix r: slot k of m elements receives
 * w_L^{jk} Σ_q w_r^{qk} x[j + q·m], w_L = e^{−2πi/L}, and is a block of the next pass. Digits k are signed,
 * −r/2 < k ≤ r/2: slot k > r/2 stands for k − r. Then the factors of slots k and r − k are conjugate and the
 * tables half as long; the bins are the same ones in another order.
 */
#include "pair_fft.h"
#include <string.h>

/* SPAN: bytes of a block, both planes, that stay in the first cache together with K and the tables.
   CACHE_WAY: bytes after which its sets come round again. */
enum { SPAN = 16 << 10, CACHE_WAY = 4096, MOST_LANES = 16 };

static int64_t round_up(int64_t value, int64_t unit) {
    return (value + unit - 1) / unit * unit;
}

static int group_of(int lanes) {
    return MIN(lanes, 4);
}

/* The width that takes the fewest vectors; the narrower one of two. */
static int choose_lanes(int64_t n, int widest) {
    int best = 1;
    for (int lanes = 1; lanes <= widest && n % lanes == 0; lanes *= 2)
        if (round_up(n / lanes, group_of(lanes)) < round_up(n / best, group_of(best))) best = lanes;
    return best;
}

static void add_radix(PairPlan *p, int radix, int64_t *left) {
    p->radices[p->npasses++] = radix;
    *left /= radix;
}

static int twos_of(int64_t n) {
    int twos = 0;
    for (; n % 2 == 0; n /= 2) twos++;
    return twos;
}

/* The radix of a pass over blocks of `length` elements, of which passes take 2^twos apart. The streams of a
   pass, two planes each, lie length/radix elements apart: where that is a multiple of CACHE_WAY bytes, all of
   them share a set of the first cache, which has room for those of radix 4. */
static int power_radix(const PairPlan *p, int64_t length, int twos, int largest) {
    bool collide = length / 8 * (int64_t)frax_dtype_size(p->dtype) * p->wide % CACHE_WAY == 0;
    if (largest == 8 && twos >= 3 && twos != 4 && !collide) return 8;
    return twos >= 2 ? 4 : 2;
}

/* Passes that take 2^twos of blocks of `length` apart. */
static int passes_of(const PairPlan *p, int64_t length, int twos, int largest) {
    int count = 0;
    for (; twos > 0; count++) {
        int radix = power_radix(p, length, twos, largest);
        length /= radix;
        twos -= twos_of(radix);
    }
    return count;
}

/* A leaf takes whole groups of vectors, so that no register is without work. */
static int choose_leaf(const PairPlan *p, int64_t vectors, int largest) {
    static const int odd[] = {7, 5, 3};
    int twos = twos_of(vectors);
    int64_t length = (vectors & -vectors) * p->lanes; /* what odd radices leave */
    if (twos >= 3 && passes_of(p, length, twos - 3, largest) < passes_of(p, length, twos - 2, largest))
        return 8;
    if (twos >= 2) return 4;
    if (twos == 1 && p->group <= 2) return 2;
    for (size_t i = 0; i < COUNT(odd) && p->group == 1; i++)
        if (vectors % odd[i] == 0) return odd[i];
    return 0;
}

static void choose_radices(PairPlan *p, int64_t left, int largest) {
    static const int odd[] = {7, 5, 3};
    for (size_t i = 0; i < COUNT(odd); i++)
        while (left % odd[i] == 0) add_radix(p, odd[i], &left);
    int64_t below = (int64_t)MAX(p->leaf, 1) * p->lanes; /* elements that stay together */
    while (left > 1) add_radix(p, power_radix(p, left * below, twos_of(left), largest), &left);
}

/* The most that a pass through memory may take. Radix 8 wants some 30 registers: with vectors of 32 bytes, of
   which there are 16, radix 4 takes 0.9 of its time at 2048 samples. */
static int largest_radix(int vector_bytes) {
    return vector_bytes >= 64 ? 8 : 4;
}

static void choose_tail(PairPlan *p) {
    static const struct {
        int lanes, tail[PAIR_MAX_TAIL];
    } tails[] = {{16, {4, 4}}, {8, {2, 4}}, {4, {4}}, {2, {2}}};
    for (size_t i = 0; i < COUNT(tails); i++)
        for (int s = 0; s < PAIR_MAX_TAIL && tails[i].lanes == p->lanes; s++)
            if (tails[i].tail[s]) p->tail[p->ntail++] = tails[i].tail[s];
}

static PairPlan plan_with_lanes(FraxDType dtype, int64_t n, int lanes, int wide, int largest) {
    PairPlan p = {.dtype = dtype, .n = n, .lanes = lanes, .wide = wide, .group = group_of(lanes)};
    int64_t bytes = (int64_t)frax_dtype_size(dtype), vectors = n / lanes;
    choose_tail(&p);
    p.leaf = choose_leaf(&p, vectors, largest);
    choose_radices(&p, p.leaf ? vectors / p.leaf : vectors, largest);
    p.positions = round_up(vectors, p.group) * lanes;
    p.elements = p.positions * wide;
    /* Where groups do not end with blocks, blocks cannot go by themselves. */
    p.span = p.leaf ? SPAN / (2 * bytes * wide) : n;
    return p;
}

PairPlan pair_fft_plan(FraxDType dtype, int64_t n, int vector_bytes) {
    int widest = MIN(vector_bytes / (int)frax_dtype_size(dtype), MOST_LANES);
    return plan_with_lanes(dtype, n, choose_lanes(n, widest), 1, largest_radix(vector_bytes));
}

PairPlan pair_fft_plan_wide(FraxDType dtype, int64_t n, int vector_bytes) {
    int widest = MIN(vector_bytes / (int)frax_dtype_size(dtype), MOST_LANES);
    return plan_with_lanes(dtype, n, 1, widest, largest_radix(vector_bytes));
}

/* ---- Teams of a GPU ---- */

enum {
    BANKS = 32,           /* of shared memory, 4 bytes wide */
    BOTH_PARTS = 36 << 10 /* bytes up to which real and imaginary parts are exchanged together */
};

int64_t team_element(const PairPlan *p, int pass, int s, int64_t lane) {
    int radix = p->radices[pass], groups = p->registers / radix;
    int64_t length = team_points(p);
    for (int i = 0; i < pass; i++) length /= p->radices[i];
    int64_t m = length / radix, butterfly = lane + (int64_t)p->lanes * (s % groups);
    return butterfly / m * length + butterfly % m + s / groups * m;
}

/* The most lanes of a warp that meet in one bank, summed over all accesses of the first warp. */
static int64_t conflicts(const PairPlan *p) {
    int64_t sum = 0, words = (int64_t)frax_dtype_size(p->dtype) / 4;
    for (int pass = 0; pass < p->npasses; pass++)
        for (int s = 0; s < p->registers; s++) {
            int met[BANKS] = {0}, most = 0;
            for (int64_t lane = 0; lane < MIN(p->lanes, BANKS / words); lane++)
                most = MAX(most, ++met[team_place(p, team_element(p, pass, s, lane)) * words % BANKS]);
            sum += most;
        }
    return sum;
}

static void choose_padding(PairPlan *p) {
    PairPlan best = *p;
    int64_t fewest = conflicts(p);
    for (p->pad_shift = 6; p->pad_shift >= 2; p->pad_shift--) {
        int64_t count = conflicts(p);
        if (count < fewest) best = *p, fewest = count;
    }
    *p = best;
}

static int log2_of(int64_t n) {
    return 63 - __builtin_clzll((unsigned long long)n);
}

/* As few passes as there can be, of radices as equal as they can be. */
static void choose_team_radices(PairPlan *p, int largest) {
    int bits = log2_of(team_points(p)), most = log2_of(largest), passes = (bits + most - 1) / most;
    for (; passes > 0; passes--) {
        int own = (bits + passes - 1) / passes;
        p->radices[p->npasses++] = 1 << own;
        bits -= own;
    }
}

static PairPlan team_plan(FraxDType dtype, int64_t n, bool halved) {
    int most = dtype == FRAX_F32 ? TEAM_MAX_RADIX : TEAM_MAX_RADIX / 2; /* 32-bit registers are what counts */
    PairPlan p = {.dtype = dtype, .n = n, .wide = 1, .group = 1, .halved = halved};
    int64_t points = team_points(&p);
    if (!is_team_length(dtype, n) || points < 2 * WARP) return p;
    p.registers = (int)MIN(most, points / WARP);
    choose_team_radices(&p, p.registers);
    /* A halved signal is held twice: no more of it in a thread than the passes gain by. */
    while (halved && p.registers > p.radices[0]) p.registers /= 2;
    p.lanes = (int)(points / p.registers);
    choose_padding(&p);
    p.positions = p.elements = p.span = n;
    return p;
}

/* Two transforms of half the points have as much to compute and to exchange as one, in half the memory; they
   have less where their passes are fewer. */
PairPlan pair_fft_plan_team(FraxDType dtype, int64_t n, int64_t length) {
    PairPlan whole = team_plan(dtype, n, false), halved = team_plan(dtype, n, true);
    return 2 * length <= n && halved.registers && halved.npasses <= whole.npasses ? halved : whole;
}

static size_t exchange_plane(const PairPlan *p) {
    size_t bytes = ((size_t)team_place(p, team_points(p) - 1) + 1) * frax_dtype_size(p->dtype);
    return (bytes + 127) / 128 * 128;
}

size_t team_exchange_apart(const PairPlan *p) {
    size_t plane = exchange_plane(p);
    return 2 * plane <= BOTH_PARTS ? plane : 0;
}

size_t team_exchange_bytes(const PairPlan *p) {
    return exchange_plane(p) + team_exchange_apart(p);
}

bool pair_fft_same(const PairPlan *a, const PairPlan *b) {
    return a->dtype == b->dtype && a->n == b->n && a->lanes == b->lanes && a->wide == b->wide &&
           a->halved == b->halved;
}

/* ---- The order of the bins ---- */

static int64_t digit(int radix, int64_t slot) {
    return slot <= radix / 2 ? slot : slot - radix;
}

/* In blocks of `length`, slot k adds k·weight. */
static void order_pass(const PairPlan *p, int radix, int64_t length, int64_t weight, int64_t *bins) {
    for (int64_t i = 0; i < p->n; i++) bins[i] += digit(radix, i % length / (length / radix)) * weight;
}

/* The emitter's transpose, of numbers: exchanges unit q of vector i with unit i of vector q. */
static void transpose(const PairPlan *p, int count, int unit, int64_t *vectors) {
    int64_t from[4 * 16];
    memcpy(from, vectors, sizeof *from * (size_t)(count * p->lanes));
    for (int i = 0; i < count; i++)
        for (int lane = 0; lane < p->lanes; lane++) {
            int q = lane / unit % count;
            vectors[i * p->lanes + lane] = from[q * p->lanes + lane + (i - q) * unit];
        }
}

static void order_tail(const PairPlan *p, int64_t weight, int64_t *bins) {
    int length = p->lanes;
    for (int s = 0; s < p->ntail; s++) {
        int radix = p->tail[s];
        for (int first = 0; first < p->group; first += radix) {
            transpose(p, radix, length / radix, bins + first * p->lanes);
            for (int i = first * p->lanes; i < (first + radix) * p->lanes; i++)
                if (bins[i] != INT64_MIN) bins[i] += digit(radix, i / p->lanes - first) * weight;
        }
        length /= radix;
        weight *= radix;
    }
}

/* A team leaves digit k of pass i in the place of that pass; the weight of a digit in the bin is the product
   of the radices before it. Even bins before odd ones where these are two transforms. */
static void team_order(const PairPlan *p, int64_t *bins) {
    int64_t points = team_points(p);
    for (int s = 0; s < p->registers; s++)
        for (int64_t lane = 0; lane < p->lanes; lane++) {
            int64_t element = team_element(p, p->npasses - 1, s, lane), length = points, weight = 1, bin = 0;
            for (int i = 0; i < p->npasses; i++) {
                length /= p->radices[i];
                bin += element / length * weight;
                element %= length;
                weight *= p->radices[i];
            }
            int64_t at = s * p->lanes + lane;
            bins[at] = p->halved ? 2 * bin : bin;
            if (p->halved) bins[points + at] = 2 * bin + 1;
        }
}

void pair_fft_order(const PairPlan *p, int64_t *bins) {
    int64_t length = p->n, weight = 1;
    if (p->registers) {
        team_order(p, bins);
        return;
    }
    for (int64_t i = 0; i < p->positions; i++) bins[i] = i < p->n ? 0 : INT64_MIN;
    for (int i = 0; i <= p->npasses; i++) {
        int radix = i < p->npasses ? p->radices[i] : MAX(p->leaf, 1);
        order_pass(p, radix, length, weight, bins);
        length /= radix;
        weight *= radix;
    }
    for (int64_t at = 0; at < p->positions; at += p->group * p->lanes) order_tail(p, weight, bins + at);
    for (int64_t i = 0; i < p->positions; i++)
        bins[i] = bins[i] == INT64_MIN ? -1 : (bins[i] % p->n + p->n) % p->n;
}

void pair_fft_name(const PairPlan *p, PairKind kind, char name[48]) {
    static const char *const kinds[] = {"filter", "forward", "inverse"};
    snprintf(name, 48, "frax_pair_%s_%lldx%d_%s", frax_dtype_name(p->dtype), (long long)p->n, p->wide,
             kinds[kind]);
}
