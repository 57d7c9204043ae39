// Causal attention over a prefix tree, forward and backward, in bfloat16 with sums in float32.
//
// Each row of the tree sees its path from the root; a token that rows share asks once, for the first of them. One task
// is a row and a key head. It works on tiles of up to LANES_A_TILE queries, of all the heads that share the key head,
// side by side in a vector's lanes: scores stand as (keys, queries), so that a softmax goes down a lane, and every
// product has its small side in registers (products.h). Scores are computed again in the backward pass, as in
// FlashAttention (arXiv:2205.14135), from the logsumexp that the forward pass left.
#pragma once
#include <cmath>
#include <vector>
#include "parallel.h"
#include "products.h"

constexpr int LANES_A_TILE = 64;

struct Tree {
    int32_t rows, tokens;
    const int32_t* nodes;   // the rows' paths, one after the other
    const int32_t* starts;  // (rows + 1), where each begins in them
    const int32_t* shared;  // (rows), how many of a path's first nodes an earlier row has, too
    const int32_t* depths;  // (tokens), a node's place in its paths
};

struct Heads {
    int32_t queries, keys, width;
    float scale;
    const float* cosine;  // (tokens, width / 2), of rotary positions
    const float* sine;
    int group() const { return queries / keys; }
    long columns() const { return (long)(queries + 2 * keys) * width; }
};

static inline int whole(int count, int step) { return (count + step - 1) / step * step; }

// Rotary positions (arXiv:2104.09864); with -1, they are taken back.
static inline void turn(const Heads& heads, int node, float direction, const float* from, float* to) {
    const int half = heads.width / 2;
    const float *cosine = heads.cosine + (long)node * half, *sine = heads.sine + (long)node * half;
    for (int d = 0; d < half; d++) {
        const float left = from[d], right = from[d + half], by = direction * sine[d];
        to[d] = left * cosine[d] - right * by;
        to[d + half] = right * cosine[d] + left * by;
    }
}

static inline void widen(const bfloat16* from, int count, float* to) {
    for (int d = 0; d < count; d += LANES) store(to + d, load(from + d));
}
static inline void round(const float* from, int count, bfloat16* to) {
    for (int d = 0; d < count; d += LANES) store(to + d, load(from + d));
}

// Two rows of sixteen as pairs, the lower half the first row's: how products.h wants weights.
static inline void store_pairs(bfloat16* to, Floats even, Floats odd) {
    Bits low = (Bits)even, high = (Bits)odd;
    low += 0x7fff + ((low >> 16) & 1);
    high += 0x7fff + ((high >> 16) & 1);
    *(Bits*)to = (low >> 16) | (high & 0xffff0000u);
}

// y (rows, 16 * blocks) = x (rows, inputs) · packed, or added to it.
static void multiply(const bfloat16* packed, int inputs, int used, int blocks, int rows, const bfloat16* x,
                     long x_stride, float* y, long y_stride, bool add) {
    int block = 0;
    for (; block + 2 <= blocks; block += 2)
        product<Fast, 2>(packed, inputs, block, 0, used / 2, rows, x, x_stride, y, y_stride, nullptr, add);
    if (block < blocks)
        product<Fast, 1>(packed, inputs, block, 0, used / 2, rows, x, x_stride, y, y_stride, nullptr, add);
}

// What a row's queries see through one key head.
struct Seen {
    int length, padded;  // of the path; padded to pairs of sixteen
    std::vector<bfloat16> keys, values;        // (padded, width), keys turned
    std::vector<bfloat16> keys_t, values_t;    // (width, padded)

    void read(const Tree& tree, const Heads& heads, const bfloat16* qkv, int row, int head) {
        const int32_t* path = tree.nodes + tree.starts[row];
        const int width = heads.width;
        length = tree.starts[row + 1] - tree.starts[row];
        padded = whole(length, LANES);
        for (auto* part : {&keys, &values, &keys_t, &values_t}) part->resize((long)padded * width);
        std::vector<float> wide(2 * width);
        float* turned = wide.data() + width;
        for (int j = 0; j < length; j++) {
            const bfloat16* token = qkv + path[j] * heads.columns();
            widen(token + (heads.queries + head) * width, width, wide.data());
            turn(heads, path[j], 1, wide.data(), turned);
            round(turned, width, keys.data() + (long)j * width);
            memcpy(values.data() + (long)j * width, token + (heads.queries + heads.keys + head) * width, 2 * width);
        }
        memset(keys.data() + (long)length * width, 0, 2l * (padded - length) * width);
        memset(values.data() + (long)length * width, 0, 2l * (padded - length) * width);
    }

    static void transpose(const std::vector<bfloat16>& from, int padded, int width, std::vector<bfloat16>& to) {
        for (int j = 0; j < padded; j += LANES)
            for (int d = 0; d < width; d++)
                for (int lane = 0; lane < LANES; lane++)
                    to[(long)d * padded + j + lane] = from[(long)(j + lane) * width + d];
    }
};

// A tile's queries: lane = place * group + member.
struct Tile {
    int first, places, lanes, blocks;  // of the path: [first, first + places); lanes padded to sixteen
    int visible;                       // keys that the last of them sees, as pairs
    Ints last[LANES_A_TILE / LANES];   // the last key that each lane sees, -1 for padding

    Tile(int first, int places, int group) : first(first), places(places) {
        lanes = places * group;
        blocks = whole(lanes, LANES) / LANES;
        visible = whole(first + places, 2);
        for (int lane = 0; lane < LANES_A_TILE; lane++)
            last[lane / LANES][lane % LANES] = lane < lanes ? first + lane / group : -1;
    }

    // A lane's vector as weights: [blocks][width / 2][16][2].
    static void pack(bfloat16* packed, int lane, const bfloat16* vector, int width) {
        bfloat16* to = packed + (long)(lane / LANES) * width * LANES + lane % LANES * 2;
        for (int d = 0; d < width; d += 2) memcpy(to + (long)d * LANES, vector + d, 4);
    }

    // Vectors (lanes, width), padding zero, as weights over lanes: [width / 16][lanes / 2][16][2].
    void pack_across(bfloat16* packed, const bfloat16* vectors, int width) const {
        const int padded = blocks * LANES;
        for (int d = 0; d < width; d += LANES)
            for (int lane = 0; lane < padded; lane += 2)
                store_pairs(packed + ((long)d * padded + lane * LANES), load(vectors + (long)lane * width + d),
                            load(vectors + (long)(lane + 1) * width + d));
    }
};

// Scratch of a thread; it grows to the longest row's size and stays.
struct Scratch {
    Seen seen;
    std::vector<float> scores, slopes, mixed;
    std::vector<bfloat16> queries, packed_queries, outer, packed_outer, across, chances, slopes_rows, pairs;

    void fit(int padded, int width) {
        for (auto* part : {&scores, &slopes}) part->resize((long)padded * LANES_A_TILE);
        for (auto* part : {&chances, &slopes_rows, &pairs}) part->resize((long)padded * LANES_A_TILE);
        for (auto* part : {&queries, &packed_queries, &outer, &packed_outer, &across})
            part->resize((long)width * LANES_A_TILE);
        mixed.resize((long)width * LANES_A_TILE);
    }
};

static inline Scratch& scratch() {
    static thread_local Scratch own;
    return own;
}

// The tile's queries, turned: (lanes, width) and packed; padding zero.
static void read_queries(const Tree& tree, const Heads& heads, const bfloat16* qkv, const int32_t* path, int head,
                         const Tile& tile, Scratch& s) {
    const int width = heads.width, group = heads.group();
    float wide[512], turned[512];
    memset(s.queries.data(), 0, s.queries.size() * 2);
    memset(s.packed_queries.data(), 0, s.packed_queries.size() * 2);
    for (int lane = 0; lane < tile.lanes; lane++) {
        const int node = path[tile.first + lane / group];
        bfloat16* query = s.queries.data() + (long)lane * width;
        widen(qkv + node * heads.columns() + (head * group + lane % group) * width, width, wide);
        turn(heads, node, 1, wide, turned);
        round(turned, width, query);
        Tile::pack(s.packed_queries.data(), lane, query, width);
    }
}

template <class Each> static void each_tile(const Tree& tree, const Heads& heads, int row, Each each) {
    const int length = tree.starts[row + 1] - tree.starts[row], most = LANES_A_TILE / heads.group();
    for (int first = tree.shared[row]; first < length; first += most)
        each(Tile(first, first + most < length ? most : length - first, heads.group()));
}

// context (tokens, queries * width) and log_sum (tokens, queries) of qkv (tokens, (queries + 2 keys) * width).
static void attend(const Tree& tree, const Heads& heads, const bfloat16* qkv, bfloat16* context, float* log_sum,
                   int threads) {
    for_each(tree.rows * heads.keys, threads, [&](int task) {
        const int row = task / heads.keys, head = task % heads.keys, width = heads.width, group = heads.group();
        const int32_t* path = tree.nodes + tree.starts[row];
        if (tree.shared[row] == tree.starts[row + 1] - tree.starts[row]) return;  // all of it is another row's
        Scratch& s = scratch();
        s.seen.read(tree, heads, qkv, row, head);
        s.fit(s.seen.padded, width);
        Seen::transpose(s.seen.values, s.seen.padded, width, s.seen.values_t);
        each_tile(tree, heads, row, [&](const Tile& tile) {
            read_queries(tree, heads, qkv, path, head, tile, s);
            multiply(s.packed_queries.data(), width, width, tile.blocks, tile.visible, s.seen.keys.data(), width,
                     s.scores.data(), LANES_A_TILE, false);
            float sums[LANES_A_TILE], logs[LANES_A_TILE];
            for (int b = 0; b < tile.blocks; b++) {
                float* column = s.scores.data() + b * LANES;
                Floats most = Floats{} - INFINITY, total{};
                for (int j = 0; j < tile.visible; j++) {
                    Floats score = load(column + (long)j * LANES_A_TILE) * heads.scale;
                    if (j > tile.first) score = tile.last[b] >= j ? score : Floats{} - INFINITY;
                    most = score > most ? score : most;
                }
                most = most > -1e30f ? most : Floats{};  // padding sees nothing
                const auto chance = [&](int j) {
                    Floats score = exponential(load(column + (long)j * LANES_A_TILE) * heads.scale - most);
                    return tile.last[b] >= j ? score : Floats{};
                };
                for (int j = 0; j < tile.visible; j += 2) {
                    const Floats even = chance(j), odd = chance(j + 1);
                    total += even + odd;
                    store_pairs(s.pairs.data() + ((long)b * tile.visible + j) * LANES, even, odd);
                }
                store(sums + b * LANES, total);
                store(logs + b * LANES, most);
            }
            multiply(s.pairs.data(), tile.visible, tile.visible, tile.blocks, width, s.seen.values_t.data(),
                     s.seen.padded, s.mixed.data(), LANES_A_TILE, false);
            for (int lane = 0; lane < tile.lanes; lane++) {
                const long node = path[tile.first + lane / group], query = head * group + lane % group;
                float vector[512];
                const float whole = 1.0f / sums[lane];
                for (int d = 0; d < width; d++) vector[d] = s.mixed[(long)d * LANES_A_TILE + lane] * whole;
                round(vector, width, context + (node * heads.queries + query) * width);
                log_sum[node * heads.queries + query] = logs[lane] + std::log(sums[lane]);
            }
        });
    });
}

// What each row says of its path's keys and values, one row after the other, [key head][place][2][width].
static inline float* slot(const Tree& tree, const Heads& heads, float* slots, int row, int head) {
    const long length = tree.starts[row + 1] - tree.starts[row];
    return slots + 2l * heads.width * (tree.starts[row] * (long)heads.keys + head * length);
}

static void row_backward(const Tree& tree, const Heads& heads, const bfloat16* qkv, const bfloat16* context,
                         const float* log_sum, const bfloat16* d_context, int row, int head, float* slots,
                         bfloat16* d_qkv) {
    const int width = heads.width, group = heads.group();
    const int32_t* path = tree.nodes + tree.starts[row];
    float* of_keys = slot(tree, heads, slots, row, head);  // (length, 2, width)
    float* of_values = of_keys + width;
    Scratch& s = scratch();
    s.seen.read(tree, heads, qkv, row, head);
    s.fit(s.seen.padded, width);
    Seen::transpose(s.seen.keys, s.seen.padded, width, s.seen.keys_t);
    memset(of_keys, 0, 8l * s.seen.length * width);
    each_tile(tree, heads, row, [&](const Tile& tile) {
        read_queries(tree, heads, qkv, path, head, tile, s);
        memset(s.outer.data(), 0, s.outer.size() * 2);
        memset(s.packed_outer.data(), 0, s.packed_outer.size() * 2);
        float logs[LANES_A_TILE] = {}, along[LANES_A_TILE] = {};
        for (int lane = 0; lane < tile.lanes; lane++) {
            const long node = path[tile.first + lane / group], at = node * heads.queries + head * group + lane % group;
            bfloat16* outer = s.outer.data() + (long)lane * width;
            memcpy(outer, d_context + at * width, 2 * width);
            Tile::pack(s.packed_outer.data(), lane, outer, width);
            Floats total{};
            for (int d = 0; d < width; d += LANES) total += load(outer + d) * load(context + at * width + d);
            along[lane] = sum(total);
            logs[lane] = log_sum[at];
        }
        multiply(s.packed_queries.data(), width, width, tile.blocks, tile.visible, s.seen.keys.data(), width,
                 s.scores.data(), LANES_A_TILE, false);
        multiply(s.packed_outer.data(), width, width, tile.blocks, tile.visible, s.seen.values.data(), width,
                 s.slopes.data(), LANES_A_TILE, false);
        const int lanes = tile.blocks * LANES;
        for (int b = 0; b < tile.blocks; b++) {
            const Floats log = load(logs + b * LANES), mean = load(along + b * LANES);
            for (int j = 0; j < tile.visible; j += 2) {
                Floats slope[2];
                for (int odd = 0; odd < 2; odd++) {
                    const long at = (long)(j + odd) * LANES_A_TILE + b * LANES;
                    Floats chance = exponential(load(s.scores.data() + at) * heads.scale - log);
                    chance = tile.last[b] >= j + odd ? chance : Floats{};
                    slope[odd] = chance * (load(s.slopes.data() + at) - mean) * heads.scale;
                    store(s.chances.data() + (long)(j + odd) * lanes + b * LANES, chance);
                    store(s.slopes_rows.data() + (long)(j + odd) * lanes + b * LANES, slope[odd]);
                }
                store_pairs(s.pairs.data() + ((long)b * tile.visible + j) * LANES, slope[0], slope[1]);
            }
        }
        const int seen = tile.first + tile.places;
        tile.pack_across(s.across.data(), s.outer.data(), width);
        multiply(s.across.data(), lanes, lanes, width / LANES, seen, s.chances.data(), lanes, of_values, 2 * width,
                 true);
        tile.pack_across(s.across.data(), s.queries.data(), width);
        multiply(s.across.data(), lanes, lanes, width / LANES, seen, s.slopes_rows.data(), lanes, of_keys, 2 * width,
                 true);
        multiply(s.pairs.data(), tile.visible, tile.visible, tile.blocks, width, s.seen.keys_t.data(), s.seen.padded,
                 s.mixed.data(), LANES_A_TILE, false);
        for (int lane = 0; lane < tile.lanes; lane++) {
            const int node = path[tile.first + lane / group];
            float vector[512], back[512];
            for (int d = 0; d < width; d++) vector[d] = s.mixed[(long)d * LANES_A_TILE + lane];
            turn(heads, node, -1, vector, back);
            round(back, width, d_qkv + node * heads.columns() + (head * group + lane % group) * width);
        }
    });
}

// A node's key and value, as all rows through it want them changed; always added up in the same order.
static void sum_of_rows(const Tree& tree, const Heads& heads, float* slots, int node, bfloat16* d_qkv) {
    const int width = heads.width, depth = tree.depths[node];
    bfloat16* to = d_qkv + node * heads.columns() + heads.queries * width;
    for (int head = 0; head < heads.keys; head++) {
        float total[1024] = {}, back[512];
        for (int row = 0; row < tree.rows; row++) {
            const int32_t* path = tree.nodes + tree.starts[row];
            if (depth >= tree.starts[row + 1] - tree.starts[row] || path[depth] != node) continue;
            const float* own = slot(tree, heads, slots, row, head) + 2l * depth * width;
            for (int d = 0; d < 2 * width; d++) total[d] += own[d];
        }
        turn(heads, node, -1, total, back);
        round(back, width, to + head * width);
        round(total + width, width, to + (heads.keys + head) * width);
    }
}

static void attend_backward(const Tree& tree, const Heads& heads, const bfloat16* qkv, const bfloat16* context,
                            const float* log_sum, const bfloat16* d_context, float* slots, bfloat16* d_qkv,
                            int threads) {
    for_each(tree.rows * heads.keys, threads, [&](int task) {
        const int row = task / heads.keys, head = task % heads.keys;
        if (tree.shared[row] == tree.starts[row + 1] - tree.starts[row]) {  // it asks nothing
            const long length = tree.starts[row + 1] - tree.starts[row];
            memset(slot(tree, heads, slots, row, head), 0, 8l * length * heads.width);
            return;
        }
        row_backward(tree, heads, qkv, context, log_sum, d_context, row, head, slots, d_qkv);
    });
    constexpr int NODES = 32;
    for_each((tree.tokens + NODES - 1) / NODES, threads, [&](int part) {
        for (int node = part * NODES; node < tree.tokens && node < (part + 1) * NODES; node++)
            sum_of_rows(tree, heads, slots, node, d_qkv);
    });
}
