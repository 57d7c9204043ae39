// What a decoder layer does to each token alone, between its products: forward and backward in one pass over memory.
// bfloat16 in and out, float32 between.
#pragma once
#include <cmath>
#include "parallel.h"
#include "vectors.h"

constexpr int TOKENS_A_PART = 16;

template <class Each> static void each_token(int tokens, int threads, Each each) {
    for_each((tokens + TOKENS_A_PART - 1) / TOKENS_A_PART, threads, [&](int part) {
        const int end = (part + 1) * TOKENS_A_PART;
        for (long token = part * TOKENS_A_PART; token < tokens && token < end; token++) each(token);
    });
}

// Root mean square norm of x (tokens, width), and by what each token was multiplied.
static void norm(const bfloat16* x, const bfloat16* weight, float epsilon, int tokens, int width, bfloat16* normed,
                 float* scales, int threads) {
    each_token(tokens, threads, [=](long token) {
        const bfloat16* from = x + token * width;
        Floats total{};
        for (int d = 0; d < width; d += LANES) {
            const Floats value = load(from + d);
            total += value * value;
        }
        const float scale = 1.0f / std::sqrt(sum(total) / width + epsilon);
        scales[token] = scale;
        for (int d = 0; d < width; d += LANES)
            store(normed + token * width + d, load(from + d) * scale * load(weight + d));
    });
}

// d x = added + scale · d normed · weight - x · scale³ · mean(d normed · weight · x)
static void norm_backward(const bfloat16* d_normed, const bfloat16* x, const float* scales, const bfloat16* weight,
                          const bfloat16* added, int tokens, int width, bfloat16* d_x, int threads) {
    each_token(tokens, threads, [=](long token) {
        const long at = token * width;
        const float scale = scales[token];
        Floats total{};
        for (int d = 0; d < width; d += LANES) total += load(d_normed + at + d) * load(weight + d) * load(x + at + d);
        const float along = sum(total) / width * scale * scale * scale;
        for (int d = 0; d < width; d += LANES) {
            Floats slope = load(d_normed + at + d) * load(weight + d) * scale - load(x + at + d) * along;
            if (added) slope += load(added + at + d);
            store(d_x + at + d, slope);
        }
    });
}

static inline Floats sigmoid(Floats x) { return 1.0f / (1.0f + exponential(-x)); }

// silu(gate) · up of gate_up (tokens, 2 · width), gates first.
static void gated(const bfloat16* gate_up, int tokens, int width, bfloat16* activated, int threads) {
    each_token(tokens, threads, [=](long token) {
        const bfloat16 *gates = gate_up + token * 2 * width, *ups = gates + width;
        for (int d = 0; d < width; d += LANES) {
            const Floats gate = load(gates + d);
            store(activated + token * width + d, gate * sigmoid(gate) * load(ups + d));
        }
    });
}

static void gated_backward(const bfloat16* d_activated, const bfloat16* gate_up, int tokens, int width,
                           bfloat16* d_gate_up, int threads) {
    each_token(tokens, threads, [=](long token) {
        const bfloat16 *gates = gate_up + token * 2 * width, *ups = gates + width;
        bfloat16 *d_gates = d_gate_up + token * 2 * width, *d_ups = d_gates + width;
        for (int d = 0; d < width; d += LANES) {
            const Floats gate = load(gates + d), slope = load(d_activated + token * width + d);
            const Floats open = sigmoid(gate);
            store(d_ups + d, slope * gate * open);
            store(d_gates + d, slope * load(ups + d) * open * (1.0f + gate * (1.0f - open)));
        }
    });
}

// Of logits (tokens, width): log softmax at each token's label, and whether no other is likelier. Leaves the softmax in
// their place where `keep`.
static void label_log_probs(bfloat16* logits, const int64_t* labels, int tokens, int width, bool keep,
                            float* log_probs, bool* top, int threads) {
    for_each(tokens, threads, [=](int token) {
        bfloat16* row = logits + (long)token * width;
        const float own = widened(row[labels[token]]);
        Floats mosts = load(row);
        for (int d = LANES; d < width; d += LANES) {
            const Floats logit = load(row + d);
            mosts = logit > mosts ? logit : mosts;
        }
        float most = mosts[0];
        for (int lane = 1; lane < LANES; lane++) most = mosts[lane] > most ? mosts[lane] : most;
        Floats total{};
        for (int d = 0; d < width; d += LANES) total += exponential(load(row + d) - most);
        const float log_sum = most + std::log(sum(total));
        log_probs[token] = own - log_sum;
        top[token] = own >= most;
        if (keep)
            for (int d = 0; d < width; d += LANES) store(row + d, exponential(load(row + d) - log_sum));
    });
}
