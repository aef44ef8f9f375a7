/* The forward passes, compiled once for each instruction set. The includer defines ISA(name), Act, ACT_ZERO,
 * TILE_ROWS, TILE_PANELS and tile(). */
#include "arithmetic.h"

typedef struct { Act *q; float *scale; } Room; /* for quantized activations, of the widest input */

#ifndef TOKENS_AT_ONCE
#define TOKENS_AT_ONCE 320 /* of an encoder: more of their intermediate results leave the third-level cache */
#endif

/* All outputs of quantized rows. `kind` is a constant, so that no row asks which it is. */
static inline __attribute__((always_inline)) void outputs(int rows, const Linear *l, const int kind, float *out,
                                                          long stride, Room room) {
    int quads = UP(l->k, 4) / 4, panels = UP(l->n, 16) / 16;
    long wide = UP(l->k, INPUTS);
    for (int from = 0; from < rows; from += ROWS_AT_ONCE) {
        int to = from + ROWS_AT_ONCE < rows ? from + ROWS_AT_ONCE : rows;
        for (int p = 0; p < panels; p += TILE_PANELS)
            for (int r = from, some; r < to; r += some) {
                some = rows_of_tile(to - r);
                tile(some, panels - p < TILE_PANELS ? panels - p : TILE_PANELS, room.q + r * wide, wide, quads,
                     room.scale + r, l, p * 16, kind, out + r * stride + p * 16, stride);
            }
    }
}

/* A linear layer on rows that are quantized already: [rows][k] to [rows][n]. */
static void multiply(int rows, const Linear *l, int kind, float *out, long stride, Room room) {
    switch (kind) {
        case PLAIN: outputs(rows, l, PLAIN, out, stride, room); break;
        case GELU_ERF: outputs(rows, l, GELU_ERF, out, stride, room); break;
        case GELU_TANH: outputs(rows, l, GELU_TANH, out, stride, room); break;
        case TANH: outputs(rows, l, TANH, out, stride, room); break;
    }
}

static void linear(const float *x, long stride, int rows, const Linear *l, int kind, float *out, long out_stride,
                   Room room) {
    quantize(x, stride, rows, l, room.q, room.scale);
    multiply(rows, l, kind, out, out_stride, room);
}

typedef struct {
    float *wide, *narrow, *keys, *scores; /* keys, scores: of attention, for one head of one row */
    Room room;
    void *all;
} Work;

/* Room for packed rows. Returns their tokens, or -1 where memory is short. */
static int reserve(Work *w, const int32_t *lengths, int rows, long width, long size, long widest) {
    long tokens = 0, longest = 0;
    for (int r = 0; r < rows; tokens += lengths[r++]) if (lengths[r] > longest) longest = lengths[r];
    long places = UP(longest, LANES);
    long floats = tokens * UP(widest, 16) + tokens * UP(width, 16) + (size + QUERIES) * places + tokens + 64;
    w->all = malloc(floats * sizeof(float) + (tokens + SPARE_ROWS) * UP(widest, INPUTS) * sizeof(Act) + 192);
    if (!w->all) return -1;
    w->wide = (float *)UP((uintptr_t)w->all, 64); /* a register's load across two cache lines costs twice: 15 % in all */
    w->narrow = w->wide + tokens * UP(widest, 16);
    w->keys = w->narrow + tokens * UP(width, 16);
    w->scores = w->keys + size * places;
    w->room.scale = w->scores + QUERIES * places;
    w->room.q = (Act *)UP((uintptr_t)(w->room.scale + tokens), 64);
    return tokens;
}

/* One transformer layer over packed rows, in place. `ready`: x is already quantized in w's room. */
static void layer_forward(const Layer *l, float *x, int tokens, const int32_t *lengths, int rows, int width, int ffn,
                          int heads, int kind, float eps, const float *relative, int reach, Work w, int ready) {
    long stride = UP(3 * width, 16);
    if (ready) multiply(tokens, &l->qkv, PLAIN, w.wide, stride, w.room);
    else linear(x, width, tokens, &l->qkv, PLAIN, w.wide, stride, w.room);
    for (long r = 0, at = 0; r < rows; at += lengths[r++])
        for (int head = 0; head < heads; head++)
            attend(w.wide + at * stride, stride, lengths[r], width, width / heads, head, relative, reach,
                   w.narrow + at * width, w.keys, w.scores);
    linear(w.narrow, width, tokens, &l->out, PLAIN, w.wide, UP(width, 16), w.room);
    add_norm(x, w.wide, UP(width, 16), tokens, width, l->norm1_weight, l->norm1_bias, eps);
    linear(x, width, tokens, &l->up, kind, w.wide, UP(ffn, 16), w.room);
    linear(w.wide, UP(ffn, 16), tokens, &l->down, PLAIN, w.narrow, UP(width, 16), w.room);
    add_norm(x, w.narrow, UP(width, 16), tokens, width, l->norm2_weight, l->norm2_bias, eps);
}

/* As `encode`, of rows whose activations are computed side by side. */
static int encode_some(const Encoder *e, const int32_t *ids, const int32_t *lengths, int rows, float *x, int8_t *data,
                       float *scales) {
    Work w;
    int hidden = e->hidden, fused = __builtin_popcountll(e->fused);
    long tokens = reserve(&w, lengths, rows, hidden, hidden / e->heads, e->ffn > 3 * hidden ? e->ffn : 3 * hidden);
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
 * int8[tokens][hidden] with scales[tokens]. Returns 0, or -1 where memory is short. */
EXPORT int ISA(encode)(const Encoder *e, const int32_t *ids, const int32_t *lengths, int rows, float *out, int8_t *data,
                       float *scales) {
    int failed = 0;
    long at = 0;
    BEGIN();
    for (int from = 0, to = 0; from < rows && !failed; from = to) {
        long tokens = 0;
        while (to < rows && (to == from || tokens + lengths[to] <= TOKENS_AT_ONCE)) tokens += lengths[to++];
        failed = encode_some(e, ids + at, lengths + from, to - from, out + at * e->hidden,
                             data ? data + at * e->hidden : NULL, scales + at);
        at += tokens;
    }
    END();
    return failed;
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
    long tokens = reserve(&w, lengths, rows, width, h->layer.qkv.weight ? width / h->heads : 0, widest);
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
        multiply(tokens, &h->project, PLAIN, w.wide, UP(width, 16), w.room);
        for (long t = 0; t < tokens; t++) memcpy(x + t * width, w.wide + t * UP(width, 16), width * sizeof(float));
        add_norm(x, NULL, 0, tokens, width, h->norm0_weight, h->norm0_bias, 1e-5f);
    }
    if (h->layer.qkv.weight)
        layer_forward(&h->layer, x, tokens, lengths, rows, width, h->ffn, h->heads, GELU_TANH, 1e-5f, NULL, 0, w, ready);
    if (h->tag.weight) linear(x, width, tokens, &h->tag, PLAIN, tags, UP(h->tag.n, 16), w.room);
    float *pooled = x + (long)tokens * UP(width, 16);
    pool(x, lengths, rows, width, pooled);
    if (h->pool.weight) {
        linear(pooled, 2 * width, rows, &h->pool, TANH, w.narrow, UP(h->pool.n, 16), w.room);
        linear(w.narrow, UP(h->pool.n, 16), rows, &h->intent, PLAIN, intents, UP(h->intent.n, 16), w.room);
    } else
        linear(pooled, 2 * width, rows, &h->intent, PLAIN, intents, UP(h->intent.n, 16), w.room);
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
    if (!short_of_memory) linear(x, l->k, rows, l, PLAIN, out, UP(l->n, 16), room);
    END();
    free(room.q);
    free(room.scale);
    return -short_of_memory;
}
