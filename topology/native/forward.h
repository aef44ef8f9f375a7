/* The forward passes, compiled once for each instruction set. The includer defines ISA(name), Act, ACT_ZERO,
 * TILE_ROWS, TILE_PANELS and tile(). */
#include "arithmetic.h"
#include "team.h"

typedef struct { Act *q; float *scale; } Room; /* for quantized activations, of the widest input */

typedef struct { /* a linear layer on rows: [rows][k] to [rows][n] */
    const float *x;
    float *out;
    long stride, out_stride;
    int rows, kind, parts;
    const Linear *l;
    Room room;
} Multiplication;

#define ROWS_A_PART 16
#define PARTS_OF_OUTPUTS 8
#ifndef TOKENS_AT_ONCE
#define TOKENS_AT_ONCE 320 /* of an encoder: more of their intermediate results leave the third-level cache */
#endif

/* Outputs of panels `first` to `last` (exclusive) of all rows. `kind` is a constant, so that no row asks which it is. */
static inline __attribute__((always_inline)) void outputs(const Multiplication *m, int first, int last, const int kind) {
    const Linear *l = m->l;
    int quads = UP(l->k, 4) / 4;
    long wide = UP(l->k, INPUTS);
    for (int from = 0; from < m->rows; from += ROWS_AT_ONCE) {
        int to = from + ROWS_AT_ONCE < m->rows ? from + ROWS_AT_ONCE : m->rows;
        for (int p = first; p < last; p += TILE_PANELS)
            for (int r = from, some; r < to; r += some) {
                some = rows_of_tile(to - r);
                tile(some, last - p < TILE_PANELS ? last - p : TILE_PANELS, m->room.q + r * wide, wide, quads,
                     m->room.scale + r, l, p * 16, kind, m->out + r * m->out_stride + p * 16, m->out_stride);
            }
    }
}

static void multiply_part(void *job, int number, int who) {
    const Multiplication *m = job;
    int panels = UP(m->l->n, 16) / 16, a_part = UP(UP(panels, m->parts) / m->parts, TILE_PANELS);
    int first = number * a_part, last = first + a_part < panels ? first + a_part : panels;
    (void)who;
    switch (m->kind) {
        case PLAIN: outputs(m, first, last, PLAIN); break;
        case GELU_ERF: outputs(m, first, last, GELU_ERF); break;
        case GELU_TANH: outputs(m, first, last, GELU_TANH); break;
        case TANH: outputs(m, first, last, TANH); break;
    }
}

static void quantize_part(void *job, int number, int who) {
    const Multiplication *m = job;
    int from = number * ROWS_A_PART, left = m->rows - from;
    (void)who;
    quantize(m->x + from * m->stride, m->stride, left < ROWS_A_PART ? left : ROWS_A_PART, m->l,
             m->room.q + (long)from * UP(m->l->k, INPUTS), m->room.scale + from);
}

/* Of rows that are quantized already. */
static void multiply(Team *team, int rows, const Linear *l, int kind, float *out, long stride, Room room) {
    int parts = is_helped(team) ? PARTS_OF_OUTPUTS : 1;
    Multiplication m = {NULL, out, 0, stride, rows, kind, parts, l, room};
    share(team, parts, multiply_part, &m);
}

static void linear(Team *team, const float *x, long stride, int rows, const Linear *l, int kind, float *out,
                   long out_stride, Room room) {
    Multiplication m = {x, NULL, stride, 0, rows, kind, 0, l, room};
    share(team, UP(rows, ROWS_A_PART) / ROWS_A_PART, quantize_part, &m);
    multiply(team, rows, l, kind, out, out_stride, room);
}

typedef struct {
    float *wide, *narrow, *scratch; /* scratch: keys and scores of attention, for each of a team */
    int32_t *starts; /* the first token of each row */
    long a_scratch;
    int at_least;
    Room room;
    Team *team;
    void *all;
} Work;

/* Room for packed rows, and what is known of them. Returns their tokens, or -1 where memory is short. */
static int reserve(Work *w, Team *team, const int32_t *lengths, int rows, long width, long size, long widest) {
    long tokens = 0, longest = 0;
    for (int r = 0; r < rows; tokens += lengths[r++]) if (lengths[r] > longest) longest = lengths[r];
    w->team = team;
    w->at_least = UP(longest, LANES);
    w->a_scratch = (size + QUERIES) * w->at_least;
    long floats = tokens * UP(widest, 16) + tokens * UP(width, 16) + (team ? MOST_IN_TEAM : 1) * w->a_scratch + tokens + rows + 64;
    w->all = malloc(floats * sizeof(float) + (tokens + SPARE_ROWS) * UP(widest, INPUTS) * sizeof(Act) + 192);
    if (!w->all) return -1;
    w->wide = (float *)UP((uintptr_t)w->all, 64); /* a register's load across two cache lines costs twice: 15 % in all */
    w->narrow = w->wide + tokens * UP(widest, 16);
    w->scratch = w->narrow + tokens * UP(width, 16);
    w->room.scale = w->scratch + (team ? MOST_IN_TEAM : 1) * w->a_scratch;
    w->starts = (int32_t *)(w->room.scale + tokens + 16);
    w->room.q = (Act *)UP((uintptr_t)(w->starts + rows), 64);
    for (int r = 0, at = 0; r < rows; at += lengths[r++]) w->starts[r] = at;
    return tokens;
}

typedef struct { /* attention over packed rows, a part being a head of a row */
    const Work *w;
    const int32_t *lengths;
    const float *relative;
    int heads, width, size, reach;
} Attention;

static void attend_part(void *job, int number, int who) {
    const Attention *a = job;
    long stride = UP(3 * a->width, 16);
    float *keys = a->w->scratch + who * a->w->a_scratch, *scores = keys + (long)a->size * a->w->at_least;
    int r = number / a->heads;
    long at = a->w->starts[r];
    attend(a->w->wide + at * stride, stride, a->lengths[r], a->width, a->size, number % a->heads, a->relative, a->reach,
           a->w->narrow + at * a->width, keys, scores);
}

typedef struct { /* x = norm(x + y) over rows */
    float *x;
    const float *y, *weight, *bias;
    int rows, width;
    float eps;
} Norm;

static void norm_part(void *job, int number, int who) {
    const Norm *n = job;
    int from = number * ROWS_A_PART, left = n->rows - from;
    long stride = UP(n->width, 16);
    (void)who;
    add_norm(n->x + (long)from * n->width, n->y + from * stride, stride, left < ROWS_A_PART ? left : ROWS_A_PART, n->width,
             n->weight, n->bias, n->eps);
}

/* One transformer layer over packed rows, in place. `ready`: x is already quantized in w's room. */
static void layer_forward(const Layer *l, float *x, int tokens, const int32_t *lengths, int rows, int width, int ffn,
                          int heads, int kind, float eps, const float *relative, int reach, Work w, int ready) {
    long stride = UP(3 * width, 16), parts = UP(tokens, ROWS_A_PART) / ROWS_A_PART;
    if (ready) multiply(w.team, tokens, &l->qkv, PLAIN, w.wide, stride, w.room);
    else linear(w.team, x, width, tokens, &l->qkv, PLAIN, w.wide, stride, w.room);
    Attention attention = {&w, lengths, relative, heads, width, width / heads, reach};
    share(w.team, rows * heads, attend_part, &attention);
    linear(w.team, w.narrow, width, tokens, &l->out, PLAIN, w.wide, UP(width, 16), w.room);
    Norm norm1 = {x, w.wide, l->norm1_weight, l->norm1_bias, tokens, width, eps};
    share(w.team, parts, norm_part, &norm1);
    linear(w.team, x, width, tokens, &l->up, kind, w.wide, UP(ffn, 16), w.room);
    linear(w.team, w.wide, UP(ffn, 16), tokens, &l->down, PLAIN, w.narrow, UP(width, 16), w.room);
    Norm norm2 = {x, w.narrow, l->norm2_weight, l->norm2_bias, tokens, width, eps};
    share(w.team, parts, norm_part, &norm2);
}

/* As `encode`, of rows whose activations are computed side by side. */
static int encode_some(const Encoder *e, const int32_t *ids, const int32_t *lengths, int rows, float *x, int8_t *data,
                       float *scales, Team *team) {
    Work w;
    int hidden = e->hidden, fused = __builtin_popcountll(e->fused);
    long tokens = reserve(&w, team, lengths, rows, hidden, hidden / e->heads, e->ffn > 3 * hidden ? e->ffn : 3 * hidden);
    float *total = fused > 1 && tokens >= 0 ? calloc((size_t)tokens * hidden, sizeof(float)) : NULL;
    if (tokens < 0 || (fused > 1 && !total)) {
        if (tokens >= 0) free(w.all);
        return -1;
    }
    for (int r = 0, at = 0; r < rows; r++)
        for (int i = 0; i < lengths[r]; i++, at++) {
            const int8_t *word = e->word + (long)ids[at] * hidden;
            const float scale = e->word_scale[ids[at]], *place = e->place + (long)(i + e->first_position) * hidden;
            for (int d = 0; d < hidden; d++) x[(long)at * hidden + d] = word[d] * scale + place[d];
        }
    add_norm(x, NULL, 0, tokens, hidden, e->norm_weight, e->norm_bias, e->eps);
    for (int l = 0; l < e->layers; l++) {
        layer_forward(e->layer + l, x, tokens, lengths, rows, hidden, e->ffn, e->heads, GELU_ERF, e->eps, e->relative,
                      e->reach, w, 0);
        if (total && e->fused >> l & 1) for (long i = 0; i < (long)tokens * hidden; i++) total[i] += x[i];
    }
    if (total) for (long i = 0; i < (long)tokens * hidden; i++) x[i] = total[i] / fused;
    if (data) to_wire(x, tokens, hidden, data, scales);
    free(total);
    free(w.all);
    return 0;
}

/* Token vectors of packed rows, out: float[tokens][hidden], and in the wire's form unless `data` is NULL:
 * int8[tokens][hidden] with scales[tokens]. `team`: who may help (by `assist`), or NULL. Returns 0, or -1 where memory is
 * short. */
EXPORT int ISA(encode)(const Encoder *e, const int32_t *ids, const int32_t *lengths, int rows, float *out, int8_t *data,
                       float *scales, Team *team) {
    int failed = 0;
    long at = 0;
    BEGIN();
    for (int from = 0, to = 0; from < rows && !failed; from = to) {
        long tokens = 0;
        while (to < rows && (to == from || tokens + lengths[to] <= TOKENS_AT_ONCE)) tokens += lengths[to++];
        failed = encode_some(e, ids + at, lengths + from, to - from, out + at * e->hidden,
                             data ? data + at * e->hidden : NULL, scales + at, team);
        at += tokens;
    }
    END();
    dismiss(team);
    return failed;
}

/* Help with the call of `encode` that has this team, until it is through. */
EXPORT void ISA(assist)(Team *team) {
    BEGIN();
    help(team);
    END();
}

static void pool(const float *x, const int32_t *lengths, int rows, int width, float *out) {
    for (int r = 0; r < rows; r++, out += 2 * width)
        for (int d = 0; d < width; d += LANES) {
            vf total = all(0), most = all(-1e9f);
            for (int i = 0; i < lengths[r]; i++) {
                vf a = ld(x + (long)i * width + d);
                total += a;
                most = larger(most, a);
            }
            st(out + d, total / (float)lengths[r]);
            st(out + width + d, most);
            if (d + LANES >= width) x += (long)lengths[r] * width;
        }
}

/* A head's logits. data: int8[tokens][hidden] with scales[tokens]; intents: float[rows][ceil16(intents)]; tags:
 * float[tokens][ceil16(tags)], untouched where the head has none. Returns 0, or -1 where memory is short. */
EXPORT int ISA(predict)(const Head *h, const int8_t *data, const float *scales, const int32_t *lengths, int rows,
                        float *intents, float *tags) {
    int width = h->width, hidden = h->hidden;
    long widest = h->ffn > 3 * width ? h->ffn : 3 * width;
    if (widest < hidden) widest = hidden;
    if (widest < 2 * width) widest = 2 * width;
    Work w;
    long tokens = reserve(&w, NULL, lengths, rows, width, h->layer.qkv.weight ? width / h->heads : 0, widest);
    if (tokens < 0) return -1;
    void *room = malloc((tokens * UP(width, 16) + (long)rows * 2 * width + 80) * sizeof(float));
    if (!room) { free(w.all); return -1; }
    float *x = (float *)UP((uintptr_t)room, 64);
    long wide = UP(hidden, INPUTS); /* the wire's int8 is the kernels' own form: no detour through float32 */
    for (long t = 0; t < tokens; t++)
        for (int d = 0; d < wide; d++) w.room.q[t * wide + d] = (Act)((d < hidden ? data[t * hidden + d] : 0) + ACT_ZERO);
    memcpy(w.room.scale, scales, tokens * sizeof(float));
    BEGIN();
    int ready = h->project.weight == NULL;
    if (ready)
        for (long t = 0; t < tokens; t++)
            for (int d = 0; d < hidden; d++) x[t * hidden + d] = data[t * hidden + d] * scales[t];
    else {
        multiply(NULL, tokens, &h->project, PLAIN, w.wide, UP(width, 16), w.room);
        for (long t = 0; t < tokens; t++) memcpy(x + t * width, w.wide + t * UP(width, 16), width * sizeof(float));
        add_norm(x, NULL, 0, tokens, width, h->norm0_weight, h->norm0_bias, 1e-5f);
    }
    if (h->layer.qkv.weight)
        layer_forward(&h->layer, x, tokens, lengths, rows, width, h->ffn, h->heads, GELU_TANH, 1e-5f, NULL, 0, w, ready);
    if (h->tag.weight) linear(NULL, x, width, tokens, &h->tag, PLAIN, tags, UP(h->tag.n, 16), w.room);
    float *pooled = x + (long)tokens * UP(width, 16);
    pool(x, lengths, rows, width, pooled);
    if (h->pool.weight) {
        linear(NULL, pooled, 2 * width, rows, &h->pool, TANH, w.narrow, UP(h->pool.n, 16), w.room);
        linear(NULL, w.narrow, UP(h->pool.n, 16), rows, &h->intent, PLAIN, intents, UP(h->intent.n, 16), w.room);
    } else
        linear(NULL, pooled, 2 * width, rows, &h->intent, PLAIN, intents, UP(h->intent.n, 16), w.room);
    END();
    free(w.all);
    free(room);
    return 0;
}

/* One linear layer by itself, for the check at start-up and the tests: out is float[rows][ceil16(n)]. */
EXPORT int ISA(apply_linear)(const Linear *l, const float *x, int rows, float *out) {
    Room room = {malloc((long)(rows + SPARE_ROWS) * UP(l->k, INPUTS) * sizeof(Act)), malloc(rows * sizeof(float))};
    int short_of_memory = !room.q || !room.scale;
    BEGIN();
    if (!short_of_memory) linear(NULL, x, l->k, rows, l, PLAIN, out, UP(l->n, 16), room);
    END();
    free(room.q);
    free(room.scale);
    return -short_of_memory;
}
