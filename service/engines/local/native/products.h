// Matrix products for few rows: y (M, N) = x (M, K) · Wᵀ, the weights read from memory once.
//
// Weights are packed so that sixteen outputs lie side by side, two inputs deep:
//   float32   [N/16][K/2][2][16]
//   bfloat16  [N/16][K/2][16][2]
// `Exact16` and `Exact32` compute in float32 on the weights as they are; `Fast` rounds the inputs to bfloat16 too and
// adds in float32, at twice the rate on processors that have the instruction.
#pragma once
#include "vectors.h"
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
constexpr int MOST_ROWS = 12;  // times two blocks: 24 of 32 registers
#else
constexpr int MOST_ROWS = 3;
#endif

struct Exact32 {
    typedef float Weight;
    typedef float Input;
    typedef float Cached;
    typedef Exact32 Low;
    static inline Vector even(const float* pair, int part) { return load_vector(pair + part * NATIVE); }
    static inline Vector odd(const float* pair, int part) { return load_vector(pair + LANES + part * NATIVE); }
};

struct Exact16 {
    typedef bfloat16 Weight;
    typedef float Input;
    typedef float Cached;
    typedef Exact32 Low;
    static inline VectorBits both(const bfloat16* pair, int part) { return *(const VectorBits*)(pair + 2 * part * NATIVE); }
    static inline Vector even(const bfloat16* pair, int part) { return (Vector)(both(pair, part) << 16); }
    static inline Vector odd(const bfloat16* pair, int part) { return (Vector)(both(pair, part) & 0xffff0000u); }
};

struct Fast {
    typedef bfloat16 Weight;
    typedef bfloat16 Input;
    typedef bfloat16 Cached;
    typedef Fast Low;
};

// Memory begins to fetch weights that are read AHEAD pairs later, or the next panel's: the processor doesn't foresee them.
constexpr int AHEAD = 16;
template <class Weight> static inline void fetch(const Weight* next, int k) {
    __builtin_prefetch(next + (long)k * 2 * LANES, 0, 2);
}

// The pairs [first, last) of the inputs, into sums.
template <class P, int ROWS, int BLOCKS> struct Kernel {
    static inline void run(
        const typename P::Weight* w, const typename P::Weight* next, long block, int first, int last,
        const typename P::Input* x, long stride, Vector (&sums)[ROWS][BLOCKS * PARTS]
    ) {
        for (int k = first; k < last; k++)
#pragma GCC unroll 2
            for (int b = 0; b < BLOCKS; b++) {
                fetch(next + b * block, k);
                const typename P::Weight* pair = w + b * block + (long)k * 2 * LANES;
#pragma GCC unroll 2
                for (int part = 0; part < PARTS; part++) {
                    const Vector even = P::even(pair, part), odd = P::odd(pair, part);
#pragma GCC unroll 16
                    for (int m = 0; m < ROWS; m++) {
                        sums[m][b * PARTS + part] += even * x[m * stride + 2 * k];
                        sums[m][b * PARTS + part] += odd * x[m * stride + 2 * k + 1];
                    }
                }
            }
    }
};

#if defined(__AVX512BF16__)
template <int ROWS, int BLOCKS> struct Kernel<Fast, ROWS, BLOCKS> {
    static inline void run(
        const bfloat16* w, const bfloat16* next, long block, int first, int last, const bfloat16* x, long stride,
        Vector (&sums)[ROWS][BLOCKS]
    ) {
        for (int k = first; k < last; k++) {
            __m512i weights[BLOCKS];
#pragma GCC unroll 2
            for (int b = 0; b < BLOCKS; b++) {
                fetch(next + b * block, k);
                weights[b] = _mm512_loadu_si512(w + b * block + (long)k * 2 * LANES);
            }
#pragma GCC unroll 16
            for (int m = 0; m < ROWS; m++) {
                int pair;
                memcpy(&pair, x + m * stride + 2 * k, 4);
                const __m512i both = _mm512_set1_epi32(pair);
#pragma GCC unroll 2
                for (int b = 0; b < BLOCKS; b++)
                    sums[m][b] = (Vector)_mm512_dpbf16_ps((__m512)sums[m][b], (__m512bh)weights[b], (__m512bh)both);
            }
        }
    }
};
#endif

template <class P, int ROWS, int BLOCKS>
static void block_of_rows(
    const typename P::Weight* w, const typename P::Weight* next, long block, int first, int last,
    const typename P::Input* x, long x_stride, float* y, long y_stride, const float* bias, bool add
) {
    constexpr int VECTORS = BLOCKS * PARTS;
    Vector sums[ROWS][VECTORS];
    for (int m = 0; m < ROWS; m++)
        for (int v = 0; v < VECTORS; v++) sums[m][v] = bias ? load_vector(bias + v * NATIVE) : Vector{};
    Kernel<P, ROWS, BLOCKS>::run(w, next, block, first, last, x, x_stride, sums);
    for (int m = 0; m < ROWS; m++)
        for (int v = 0; v < VECTORS; v++) {
            float* to = y + m * y_stride + v * NATIVE;
            store_vector(to, add ? load_vector(to) + sums[m][v] : sums[m][v]);
        }
}

template <class P, int BLOCKS, int ROWS = MOST_ROWS> struct Rows {
    template <class... Arguments> static inline void run(int rows, Arguments... arguments) {
        if (rows == ROWS)
            block_of_rows<P, ROWS, BLOCKS>(arguments...);
        else
            Rows<P, BLOCKS, ROWS - 1>::run(rows, arguments...);
    }
};
template <class P, int BLOCKS> struct Rows<P, BLOCKS, 0> {
    template <class... Arguments> static inline void run(int, Arguments...) {}
};

// `BLOCKS` blocks of sixteen outputs, beginning with block `number`, for all rows: y = x·Wᵀ + bias, or y += x·Wᵀ.
// `inputs` is the packed matrix's K; only its pairs [first, last) are used.
template <class P, int BLOCKS>
static void product(
    const void* weights, int inputs, int number, int first, int last, int rows, const typename P::Input* x,
    long x_stride, float* y, long y_stride, const float* bias, bool add
) {
    const long block = (long)inputs * LANES;
    const auto* w = (const typename P::Weight*)weights + number * block;
    const int all = (rows + MOST_ROWS - 1) / MOST_ROWS;
    for (int parts = all; parts > 0; parts--) {
        const int count = (rows + parts - 1) / parts;
        const auto* next = w + (parts == 1 && all > 1 ? BLOCKS * block : (long)AHEAD * 2 * LANES);
        Rows<P, BLOCKS>::run(
            count, w, next, block, first, last, x, x_stride, y + (long)number * LANES, y_stride,
            bias ? bias + (long)number * LANES : nullptr, add
        );
        rows -= count;
        x += count * x_stride;
        y += count * y_stride;
    }
}
