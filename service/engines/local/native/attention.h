// Attention of a few query rows that share one key/value head, over one request's cache.
//
// A plane of the cache holds one layer's and head's keys as [positions/16][head size][16], so that sixteen scores are
// computed side by side, and its values as [positions][head size].
#pragma once
#include <cmath>
#include "vectors.h"

constexpr int MOST_QUERIES = 6;
constexpr int TOGETHER = NATIVE / 4;  // vectors of values added up at once: 6 * 4 of 32 registers, 6 * 2 of 16

template <class Cached> static void store_key(Cached* keys, int position, int size, const float* key) {
    Cached* to = keys + (long)(position / LANES) * size * LANES + position % LANES;
    for (int d = 0; d < size; d++) narrow(to + d * LANES, key[d]);
}

template <class Cached> static void store_value(Cached* values, int position, int size, const float* value) {
    for (int d = 0; d < size; d += LANES) store(values + (long)position * size + d, load(value + d));
}

// Scores of `COUNT` queries against the positions below `visible[q]`, as weights that add up to one.
template <class Cached, int COUNT>
static void weigh(const Cached* keys, int size, float scale, const float** queries, const int* visible, int padded,
                  float* weights) {
    Floats most[COUNT];
    for (int q = 0; q < COUNT; q++) most[q] = Floats{} - INFINITY;
    const Ints lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (int at = 0; at < padded; at += LANES) {
        const Cached* block = keys + (long)at * size;
#pragma GCC unroll 2
        for (int part = 0; part < PARTS; part++) {
            Vector scores[COUNT] = {};
            for (int d = 0; d < size; d++) {
                const Vector key = load_vector(block + d * LANES + part * NATIVE);
#pragma GCC unroll 8
                for (int q = 0; q < COUNT; q++) scores[q] += key * queries[q][d];
            }
            for (int q = 0; q < COUNT; q++) store_vector(weights + (long)q * padded + at + part * NATIVE, scores[q]);
        }
        for (int q = 0; q < COUNT; q++) {
            Floats score = load(weights + (long)q * padded + at) * scale;
            score = lanes + at < visible[q] ? score : Floats{} - INFINITY;
            most[q] = score > most[q] ? score : most[q];
            store(weights + (long)q * padded + at, score);
        }
    }
    for (int q = 0; q < COUNT; q++) {
        float top = most[q][0];
        for (int lane = 1; lane < LANES; lane++) top = most[q][lane] > top ? most[q][lane] : top;
        float* row = weights + (long)q * padded;
        Floats total{};
        for (int at = 0; at < padded; at += LANES) {
            Floats weight = exponential(load(row + at) - top);
            weight = lanes + at < visible[q] ? weight : Floats{};
            total += weight;
            store(row + at, weight);
        }
        const float whole = 1.0f / sum(total);
        for (int at = 0; at < padded; at += LANES) store(row + at, load(row + at) * whole);
    }
}

template <class Cached, class Output, int COUNT, int VECTORS>
static void mix(const Cached* values, int size, const float* weights, int padded, int length, Output** outputs) {
    Vector sums[COUNT][VECTORS] = {};
    for (int at = 0; at < length; at++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            const Vector value = load_vector(values + (long)at * size + v * NATIVE);
#pragma GCC unroll 8
            for (int q = 0; q < COUNT; q++) sums[q][v] += value * weights[(long)q * padded + at];
        }
    for (int q = 0; q < COUNT; q++)
        for (int v = 0; v < VECTORS; v++) store_vector(outputs[q] + v * NATIVE, sums[q][v]);
}

// softmax(q·Kᵀ·scale)·V for `COUNT` queries; query q sees the positions below visible[q]. `weights` is scratch of
// COUNT times the longest, in sixteens.
template <class Cached, class Output, int COUNT>
static void attend(const Cached* keys, const Cached* values, int size, float scale, const float** queries,
                   const int* visible, float* weights, Output** outputs) {
    int length = 0;
    for (int q = 0; q < COUNT; q++) length = visible[q] > length ? visible[q] : length;
    const int padded = (length + LANES - 1) / LANES * LANES;
    weigh<Cached, COUNT>(keys, size, scale, queries, visible, padded, weights);
    int d = 0;
    for (; d + TOGETHER * NATIVE <= size; d += TOGETHER * NATIVE) {
        mix<Cached, Output, COUNT, TOGETHER>(values + d, size, weights, padded, length, outputs);
        for (int q = 0; q < COUNT; q++) outputs[q] += TOGETHER * NATIVE;
    }
    for (; d < size; d += NATIVE) {
        mix<Cached, Output, COUNT, 1>(values + d, size, weights, padded, length, outputs);
        for (int q = 0; q < COUNT; q++) outputs[q] += NATIVE;
    }
}

template <class Cached, class Output, int COUNT = MOST_QUERIES> struct Attend {
    template <class... Arguments> static inline void run(int count, Arguments... arguments) {
        if (count == COUNT)
            attend<Cached, Output, COUNT>(arguments...);
        else
            Attend<Cached, Output, COUNT - 1>::run(count, arguments...);
    }
};
template <class Cached, class Output> struct Attend<Cached, Output, 0> {
    template <class... Arguments> static inline void run(int, Arguments...) {}
};
