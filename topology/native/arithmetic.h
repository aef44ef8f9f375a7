/* What the forward passes are made of, on rows of numbers, one thread at a time. The includer is forward.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kernels.h"

/* As many float32 as a register holds. */
#ifndef LANES
#define LANES 8
#endif
typedef float vf __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t vi __attribute__((vector_size(4 * LANES), aligned(4)));
typedef Act acts __attribute__((vector_size(LANES * sizeof(Act))));
typedef int8_t bytes __attribute__((vector_size(LANES)));
#define UP(n, to) (((n) + (to) - 1) / (to) * (to))
#define QUERIES 8 /* of attention, computed side by side; fewer leave the multipliers waiting for their sums */
#ifndef ROWS_AT_ONCE
#define ROWS_AT_ONCE 48 /* activations of so many rows stay in the second-level cache */
#endif
#ifndef INPUTS
#define INPUTS LANES /* a row of activations is zeros from its last input to a multiple of so many */
#define SPARE_ROWS 0 /* that may be read past the last, with anything in them */
#define BEGIN()      /* around every multiplication, on its thread */
#define END()
#endif
enum { PLAIN, GELU_ERF, GELU_TANH, TANH };

static inline vf all(float x) { return x - (vf){0}; }
static inline vf ld(const float *p) { return *(const vf *)p; }
static inline void st(float *p, vf x) { *(vf *)p = x; }
static inline vf pick(vi mask, vf a, vf b) { return (vf)((mask & (vi)a) | (~mask & (vi)b)); }
static inline vf absolute(vf x) { return (vf)((vi)x & 0x7fffffff); }
#if LANES == 16
static inline vf larger(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); }
static inline float sum(vf x) { return _mm512_reduce_add_ps((__m512)x); }
static inline float largest(vf x) { return _mm512_reduce_max_ps((__m512)x); }
/* 1 / x to float32's precision: a step of Newton's on 14 bits, a fifth of the time of a division. */
static inline vf inverse(vf x) { vf y = (vf)_mm512_rcp14_ps((__m512)x); return y * (2.0f - x * y); }
#else
static inline vf larger(vf a, vf b) { return pick(a > b, a, b); }
static inline float sum(vf x) { return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7])); }
static inline vf inverse(vf x) { return 1.0f / x; }
static inline float largest(vf x) {
    float most = x[0];
    for (int i = 1; i < LANES; i++) if (x[i] > most) most = x[i];
    return most;
}
#endif

/* Adding 1.5 * 2^23 rounds to the nearest whole number, ties to even. */
static inline vi nearest(vf x) { return (vi)(x + 12582912.0f) - 0x4b400000; }

/* e^x to 2 units in the last place (Cephes' polynomial). */
static inline vf exponential(vf x) {
    x = larger(pick(x < all(88.0f), x, all(88.0f)), all(-87.0f));
    vf shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    vf r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vf p = ((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r
            + 1.6666665459e-1f) * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return p * (vf)(((vi)shifted - 0x4b400000 + 127) << 23);
}

/* GELU by erf (Abramowitz and Stegun 7.1.26, error below 1.5e-7) or by tanh; tanh itself. */
static inline vf activate(int kind, vf x) {
    if (kind == GELU_ERF) {
        vf z = absolute(x) * 0.70710678f, t = inverse(1.0f + 0.3275911f * z);
        vf tail = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t + 0.254829592f) * t
                  * exponential(-z * z);
        vf erf = pick(x < all(0), tail - 1.0f, 1.0f - tail);
        return 0.5f * x * (1.0f + erf);
    }
    vf u = kind == TANH ? x : 0.7978845608f * (x + 0.044715f * x * x * x);
    vf tanh_u = 1.0f - 2.0f * inverse(1.0f + exponential(2.0f * u));
    return kind == TANH ? tanh_u : 0.5f * x * (1.0f + tanh_u);
}

static inline vf finish(int kind, vf x) { return kind == PLAIN ? x : activate(kind, x); }

/* Multiply `rows` (at most TILE_ROWS) by `panels` (at most TILE_PANELS) of 16 outputs from `first` on: each instruction set's own. */
static void tile(int rows, int panels, const Act *a, long stride, int quads, const float *row_scale, const Linear *l,
                 int first, int kind, float *out, long out_stride);

/* float [rows][k] to integers and a scale a row. Inputs past k are zero. */
static void quantize(const float *x, long stride, int rows, const Linear *l, Act *q, float *scale) {
    int k = l->k, wide = UP(k, INPUTS);
    float buffer[wide];
    for (int r = 0; r < rows; r++) {
        const float *row = x + r * stride;
        memset(buffer + k, 0, (wide - k) * sizeof(float));
        if (l->smooth) for (int i = 0; i < k; i++) buffer[i] = row[i] * l->smooth[i];
        else memcpy(buffer, row, k * sizeof(float));
        vf top = all(1e-12f);
        for (int i = 0; i < wide; i += LANES) top = larger(top, absolute(ld(buffer + i)));
        float most = largest(top);
        float inverse = 127.0f / most;
        scale[r] = most / 127.0f;
        Act *to = q + r * wide;
        for (int i = 0; i < wide; i += LANES) {
            acts whole = __builtin_convertvector(nearest(ld(buffer + i) * inverse) + ACT_ZERO, acts);
            memcpy(to + i, &whole, sizeof whole);
        }
    }
}

/* float [rows][width] to the wire's form: int8 and a scale a row. */
static void to_wire(const float *x, int rows, int width, int8_t *data, float *scales) {
    for (long r = 0; r < rows; r++, x += width, data += width) {
        vf top = all(1e-12f);
        for (int i = 0; i < width; i += LANES) top = larger(top, absolute(ld(x + i)));
        float most = largest(top);
        scales[r] = most / 127.0f;
        for (int i = 0; i < width; i += LANES) {
            bytes whole = __builtin_convertvector(nearest(ld(x + i) * (127.0f / most)), bytes);
            memcpy(data + i, &whole, sizeof whole);
        }
    }
}

/* Tiles as even as they come, 15 rows being 8 and 7, not 12 and 3; where tiles are loaded whole, as full as they come. */
static inline int rows_of_tile(int left) {
    int tiles = UP(left, TILE_ROWS) / TILE_ROWS;
    if (SPARE_ROWS) return left < TILE_ROWS ? left : TILE_ROWS;
    return UP(left, tiles) / tiles;
}

/* x = norm(x + y), in place; y may be NULL. */
static void add_norm(float *x, const float *y, long y_stride, int rows, int width, const float *weight,
                     const float *bias, float eps) {
    for (int r = 0; r < rows; r++, x += width) {
        vf total = all(0), squares = all(0);
        for (int i = 0; i < width; i += LANES) {
            vf a = ld(x + i);
            if (y) a += ld(y + r * y_stride + i);
            st(x + i, a);
            total += a;
        }
        float mean = sum(total) / width;
        for (int i = 0; i < width; i += LANES) { vf a = ld(x + i) - mean; squares += a * a; }
        float inverse = 1.0f / sqrtf(sum(squares) / width + eps);
        for (int i = 0; i < width; i += LANES) st(x + i, (ld(x + i) - mean) * inverse * ld(weight + i) + ld(bias + i));
    }
}

/* Attention of `count` (a constant, at most QUERIES) queries on one row's keys and values: sums of several queries side by
 * side hide the latency of adding (a row of 250 tokens took three times as long one query at a time). */
static inline __attribute__((always_inline)) void attend_some(const int count, const float *q, const float *v, long stride,
        int tokens, int size, float scaling, const float *bias, const float *keys, float *scores, float *out, int width) {
    int wide = UP(tokens, LANES);
    for (int j = 0; j < wide; j += LANES) {
        vf sum[QUERIES];
        for (int i = 0; i < count; i++) sum[i] = all(0);
        for (int d = 0; d < size; d++) {
            vf key = ld(keys + d * wide + j);
            for (int i = 0; i < count; i++) sum[i] += q[i * stride + d] * key;
        }
        for (int i = 0; i < count; i++) st(scores + i * wide + j, sum[i] * scaling);
    }
    float inverse[QUERIES];
    for (int i = 0; i < count; i++) {
        float *s = scores + i * wide;
        vf top = all(-1e30f);
        for (int j = tokens; j < wide; j++) s[j] = -1e30f;
        if (bias) for (int j = 0; j < tokens; j++) s[j] += bias[j - i];
        for (int j = 0; j < wide; j += LANES) top = larger(top, ld(s + j));
        float most = largest(top);
        vf total = all(0);
        for (int j = 0; j < wide; j += LANES) { vf e = exponential(ld(s + j) - most); st(s + j, e); total += e; }
        for (int j = tokens; j < wide; j++) total[j % LANES] -= s[j];
        inverse[i] = 1.0f / sum(total);
    }
    for (int d = 0; d < size; d += LANES) {
        vf mixed[QUERIES];
        for (int i = 0; i < count; i++) mixed[i] = all(0);
        for (int j = 0; j < tokens; j++) {
            vf value = ld(v + j * stride + d);
            for (int i = 0; i < count; i++) mixed[i] += scores[i * wide + j] * value;
        }
        for (int i = 0; i < count; i++) st(out + (long)i * width + d, mixed[i] * inverse[i]);
    }
}

/* Attention of one head within one row of `tokens`; qkv is [tokens][3 * width] with row stride `stride`. */
static void attend(const float *qkv, long stride, int tokens, int width, int size, int h, const float *relative, int reach,
                   float *out, float *keys, float *scores) {
    int wide = UP(tokens, LANES);
    float scaling = 1.0f / sqrtf((float)size);
    const float *q = qkv + h * size, *k = q + width, *v = k + width;
    memset(keys, 0, (size_t)size * wide * sizeof(float));
    for (int j = 0; j < tokens; j++) for (int d = 0; d < size; d++) keys[d * wide + j] = k[j * stride + d];
    const float *bias = relative ? relative + (long)h * (2 * reach - 1) + reach - 1 : NULL;
    int i = 0;
#define SOME(n) \
    for (; i + n <= tokens; i += n) \
        attend_some(n, q + i * stride, v, stride, tokens, size, scaling, bias ? bias - i : NULL, keys, scores, \
                    out + (long)i * width + h * size, width);
    SOME(QUERIES)
    if (i && i < tokens) i = tokens - QUERIES; /* the last ones again with some that are done: the same, and quicker */
    SOME(QUERIES) SOME(4) SOME(2) SOME(1)
}
