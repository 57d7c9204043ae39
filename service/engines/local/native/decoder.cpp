// One step of a Llama-shaped decoder: some tokens of several requests in, logits out, in one call.
//
// Promises: each request reads and extends its own cache and gets its own adapter's B·A; the threads meet a dozen
// times a layer and nowhere else. Leaves out loading, packing and scheduling, which Python does; `library.py` mirrors
// the structs field by field.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "attention.h"
#include "products.h"
#include "team.h"

struct Linear {
    const void* weight;  // packed, outputs in multiples of 32
    const float* bias;   // or null
    int32_t inputs, outputs;
};

struct Layer {
    const float *input_norm, *output_norm, *query_norm, *key_norm;  // the last two or null
    Linear qkv, out, gate_up, down;  // gate_up: sixteen of the gate, sixteen of up, and so on
};

struct Model {
    int32_t kind, layers, hidden, heads, key_heads, head_size, intermediate, vocabulary;
    float epsilon, scale;
    const Layer* layer;
    Linear head;
    const float* final_norm;
    const void* embeddings;     // (vocabulary, hidden)
    const float *cosine, *sine;  // (positions, head_size / 2)
};

// An adapter's halves at one product: low = x·Aᵀ (ranks in multiples of 16), y += low·Bᵀ. A panel of 32 outputs uses
// the pairs [ranges[2p], ranges[2p + 1]) of the ranks: those of the modules it belongs to.
struct Site {
    const void *a, *b;  // null: untouched
    const int32_t* ranges;
    int32_t ranks;
};

struct Row {
    void* cache;
    int64_t plane;  // elements of keys, and of values, of one layer and head
    int32_t start, count;  // its first token's position, and how many tokens
    int32_t keep, target;  // its last `keep` tokens' logits go to the rows from `target` on
    const Site* sites;     // [layers][4], or null for the base
};

constexpr int PANEL = 2 * LANES;
enum { QKV, OUT, GATE_UP, DOWN };

template <class Value> class Buffer {  // grows, never shrinks, aligned to a cache line
  public:
    Value* sized(size_t count) {
        if (count > size_) {
            size_ = 0;
            values_.reset();  // first, so that there is never room for both
            values_.reset((Value*)std::aligned_alloc(64, (count * sizeof(Value) + 63) / 64 * 64));
            if (!values_) throw std::bad_alloc();
            size_ = count;
        }
        return values_.get();
    }
    Value* get() const { return values_.get(); }

  private:
    struct Free {
        void operator()(Value* values) { std::free(values); }
    };
    std::unique_ptr<Value, Free> values_;
    size_t size_ = 0;
};

struct Segment {  // neighbouring tokens with the same adapter
    int first, count;
    const Site* sites;
};

template <class P> class Step {
    typedef typename P::Input Input;
    typedef typename P::Cached Cached;

  public:
    Step(Team& team, const Model& model) : team_(team), model_(model), weights_(team.size) {}

    // All memory is found before the team begins: a job mustn't throw.
    void run(const Row* rows, int count, const int32_t* tokens, float* logits) {
        arrange(rows, count);
        h_ = hidden_.sized((size_t)tokens_ * model_.hidden);
        x_ = input_buffer_.sized((size_t)tokens_ * std::max(model_.hidden, model_.heads * model_.head_size));
        inner_ = inner_buffer_.sized((size_t)tokens_ * model_.intermediate);
        y_ = outputs_.sized((size_t)tokens_ * padded(std::max(qkv_width(), 2 * model_.intermediate)));
        low_ = low_buffer_.sized((size_t)tokens_ * ranks_);
        low_inputs_ = low_input_buffer_.sized((size_t)tokens_ * ranks_);
        for (auto& scratch : weights_) scratch.sized((size_t)MOST_QUERIES * (longest_ + LANES));
        team_.run([&](int number) {
            embed(tokens);
            for (int l = 0; l < model_.layers; l++) layer(l, number);
            finish(logits);
        });
    }

  private:
    int qkv_width() const { return (model_.heads + 2 * model_.key_heads) * model_.head_size; }
    static int padded(int outputs) { return (outputs + PANEL - 1) / PANEL * PANEL; }

    // Note where each token belongs, and which neighbours share an adapter.
    void arrange(const Row* rows, int count) {
        row_of_.clear(), position_.clear(), kept_.clear(), segments_.clear();
        rows_ = rows, longest_ = 0, ranks_ = LANES;
        for (int r = 0; r < count; r++) {
            const int first = (int)position_.size();
            for (int i = 0; i < rows[r].count; i++) {
                const int kept = i - (rows[r].count - rows[r].keep);
                if (kept >= 0) kept_.push_back({first + i, rows[r].target + kept});
                row_of_.push_back(r), position_.push_back(rows[r].start + i);
            }
            longest_ = std::max(longest_, rows[r].start + rows[r].count);
            if (!segments_.empty() && segments_.back().sites == rows[r].sites)
                segments_.back().count += rows[r].count;
            else
                segments_.push_back({first, rows[r].count, rows[r].sites});
            if (rows[r].sites)
                for (int s = 0; s < 4 * model_.layers; s++) ranks_ = std::max(ranks_, rows[r].sites[s].ranks);
        }
        tokens_ = (int)position_.size();
        queries_ = MOST_QUERIES / (model_.heads / model_.key_heads);
        groups_.clear();
        for (int t = 0; t < tokens_; t += groups_.back().second) {  // tokens of one row, attended to together
            int together = 1;
            while (together < queries_ && t + together < tokens_ && row_of_[t + together] == row_of_[t]) together++;
            groups_.push_back({t, together});
        }
    }

    void embed(const int32_t* tokens) {
        const int hidden = model_.hidden;
        team_.share(tokens_, 1, [&](int t) {
            const auto* from = (const typename P::Weight*)model_.embeddings + (long)tokens[t] * hidden;
            for (int d = 0; d < hidden; d++) h_[(long)t * hidden + d] = widened(from[d]);
        });
    }

    void layer(int l, int number) {
        const Layer& layer = model_.layer[l];
        const int hidden = model_.hidden;
        team_.share(tokens_, 4, [&](int t) { norm(h_ + (long)t * hidden, layer.input_norm, hidden, x_ + (long)t * hidden); });
        linear(l, QKV, layer.qkv, x_, y_, padded(qkv_width()), false);
        team_.share(tokens_, 1, [&](int t) { remember(l, t, layer); });
        team_.share((int)groups_.size() * model_.key_heads, 1, [&](int part) { look(l, part, number); });
        linear(l, OUT, layer.out, x_, h_, hidden, true);
        team_.share(tokens_, 4, [&](int t) { norm(h_ + (long)t * hidden, layer.output_norm, hidden, x_ + (long)t * hidden); });
        linear(l, GATE_UP, layer.gate_up, x_, y_, padded(2 * model_.intermediate), false, [&](int panel) { gate(panel); });
        linear(l, DOWN, layer.down, inner_, h_, hidden, true);
    }

    void finish(float* logits) {
        const int hidden = model_.hidden, count = (int)kept_.size();
        if (count == 0) return;
        team_.share(count, 4, [&](int i) {
            const auto [token, target] = kept_[i];
            norm(h_ + (long)token * hidden, model_.final_norm, hidden, x_ + (long)target * hidden);
        });
        team_.share(model_.head.outputs / PANEL, 8, [&](int panel) {
            product<P, 2>(model_.head.weight, model_.head.inputs, 2 * panel, 0, model_.head.inputs / 2, count, x_, hidden,
                          logits, model_.head.outputs, model_.head.bias, false);
        });
    }

    // y = x·Wᵀ + low·Bᵀ for all tokens, added to y if `add`; `then(panel)` follows once a panel of 32 is complete.
    template <class Then>
    void linear(int l, int which, const Linear& linear, const Input* x, float* y, long stride, bool add, Then then) {
        bool adapted = false;
        int blocks = 0;
        for (const Segment& segment : segments_)
            if (segment.sites && segment.sites[4 * l + which].a) {
                adapted = true;
                blocks = std::max(blocks, segment.sites[4 * l + which].ranks / LANES);
            }
        const int inputs = linear.inputs;
        if (adapted)
            team_.share(blocks * (int)segments_.size(), 1, [&](int part) {
                const Segment& segment = segments_[part / blocks];
                const Site* site = segment.sites ? segment.sites + 4 * l + which : nullptr;
                const int block = part % blocks;
                if (!site || !site->a || block >= site->ranks / LANES) return;
                float* low = low_ + (long)segment.first * ranks_;
                product<typename P::Low, 1>(site->a, inputs, block, 0, inputs / 2, segment.count,
                                            x + (long)segment.first * inputs, inputs, low, ranks_, nullptr, false);
                for (int t = 0; t < segment.count; t++)
                    store(low_inputs_ + (long)(segment.first + t) * ranks_ + block * LANES,
                          load(low + (long)t * ranks_ + block * LANES));
            });
        team_.share(linear.outputs / PANEL, linear.outputs > 4096 ? 4 : 2, [&](int panel) {
            product<P, 2>(linear.weight, inputs, 2 * panel, 0, inputs / 2, tokens_, x, inputs, y, stride, linear.bias, add);
            if (adapted)
                for (const Segment& segment : segments_)
                    if (const Site* site = segment.sites ? segment.sites + 4 * l + which : nullptr; site && site->a)
                        product<typename P::Low, 2>(
                            site->b, site->ranks, 2 * panel, site->ranges[2 * panel], site->ranges[2 * panel + 1],
                            segment.count, low_inputs_ + (long)segment.first * ranks_, ranks_,
                            y + (long)segment.first * stride, stride, nullptr, true);
            then(panel);
        });
    }
    void linear(int l, int which, const Linear& linear, const Input* x, float* y, long stride, bool add) {
        this->linear(l, which, linear, x, y, stride, add, [](int) {});
    }

    // RMSNorm (Zhang & Sennrich 2019).
    template <class Output> void norm(const float* from, const float* weight, int size, Output* to) const {
        Floats squares{};
        float rest = 0;
        int d = 0;
        for (; d + LANES <= size; d += LANES) squares += load(from + d) * load(from + d);
        for (; d < size; d++) rest += from[d] * from[d];
        const float scale = 1.0f / std::sqrt((sum(squares) + rest) / size + model_.epsilon);
        for (d = 0; d + LANES <= size; d += LANES) store(to + d, load(from + d) * scale * load(weight + d));
        for (; d < size; d++) narrow(to + d, from[d] * scale * weight[d]);
    }

    // Rotary positions (Su et al. 2021), halves turned against each other as in Llama's reference code.
    void rotate(float* head, int position) const {
        const int half = model_.head_size / 2;
        const float *cosine = model_.cosine + (long)position * half, *sine = model_.sine + (long)position * half;
        for (int d = 0; d < half; d++) {
            const float one = head[d], other = head[d + half];
            head[d] = one * cosine[d] - other * sine[d];
            head[d + half] = other * cosine[d] + one * sine[d];
        }
    }

    Cached* plane(int l, int head, int row, bool values) const {
        return (Cached*)rows_[row].cache + ((long)(l * model_.key_heads + head) * 2 + values) * rows_[row].plane;
    }

    // Turn a token's queries and key by its position; put key and value into its row's cache.
    void remember(int l, int t, const Layer& layer) {
        const int size = model_.head_size, row = row_of_[t], position = position_[t];
        float* query = y_ + (long)t * padded(qkv_width());
        for (int h = 0; h < model_.heads + model_.key_heads; h++) {
            float* head = query + (long)h * size;
            const float* weight = h < model_.heads ? layer.query_norm : layer.key_norm;
            if (weight) norm(head, weight, size, head);
            rotate(head, position);
        }
        const float* key = query + (long)model_.heads * size;
        const float* value = key + (long)model_.key_heads * size;
        for (int h = 0; h < model_.key_heads; h++) {
            store_key(plane(l, h, row, false), position, size, key + (long)h * size);
            store_value(plane(l, h, row, true), position, size, value + (long)h * size);
        }
    }

    void look(int l, int part, int number) {
        const int size = model_.head_size, together = model_.heads / model_.key_heads;
        const auto [first, tokens] = groups_[part / model_.key_heads];
        const int head = part % model_.key_heads, row = row_of_[first];
        const Cached *keys = plane(l, head, row, false), *values = plane(l, head, row, true);
        const float* queries[MOST_QUERIES];
        int visible[MOST_QUERIES];
        Input* outputs[MOST_QUERIES];
        float* scratch = weights_[number].get();
        for (int done = 0; done < tokens * together;) {
            int count = 0;
            for (; count < MOST_QUERIES && done < tokens * together; count++, done++) {
                const int t = first + done / together, h = head * together + done % together;
                queries[count] = y_ + (long)t * padded(qkv_width()) + (long)h * size;
                visible[count] = position_[t] + 1;
                outputs[count] = x_ + (long)t * model_.heads * size + (long)h * size;
            }
            Attend<Cached, Input>::run(count, keys, values, size, model_.scale, (const float**)queries,
                                       (const int*)visible, scratch, (Input**)outputs);
        }
    }

    // SwiGLU (Shazeer 2020) of a panel: its first sixteen are the gate's.
    void gate(int panel) {
        const long stride = padded(2 * model_.intermediate);
        for (int t = 0; t < tokens_; t++) {
            const float* from = y_ + t * stride + (long)panel * PANEL;
            const Floats gate = load(from);
            store(inner_ + (long)t * model_.intermediate + panel * LANES,
                  gate / (1.0f + exponential(-gate)) * load(from + LANES));
        }
    }

    Team& team_;
    const Model& model_;
    const Row* rows_ = nullptr;
    int tokens_ = 0, longest_ = 0, ranks_ = LANES, queries_ = 1;
    std::vector<int> row_of_, position_;
    std::vector<Segment> segments_;
    std::vector<std::pair<int, int>> groups_, kept_;
    Buffer<float> hidden_, outputs_, low_buffer_;
    Buffer<Input> input_buffer_, inner_buffer_, low_input_buffer_;
    std::vector<Buffer<float>> weights_;
    float *h_ = nullptr, *y_ = nullptr, *low_ = nullptr;
    Input *x_ = nullptr, *inner_ = nullptr, *low_inputs_ = nullptr;
};

class AnyStep {
  public:
    virtual void run(const Row* rows, int count, const int32_t* tokens, float* logits) = 0;
    virtual ~AnyStep() = default;
};
template <class P> class StepOf : public AnyStep {
  public:
    StepOf(int threads, const Model& model) : team_(threads), step_(team_, model) {}
    void run(const Row* rows, int count, const int32_t* tokens, float* logits) override {
        step_.run(rows, count, tokens, logits);
    }

  private:
    Team team_;
    Step<P> step_;
};

enum { EXACT32, EXACT16, FAST };
enum { DONE, NO_MEMORY, FAILED };  // what a step returns: no exception may leave this library

extern "C" {

// Python takes the library only if these are the numbers it counts with. The first one goes up with every change of a
// struct or function here that the sizes don't show.
extern const int32_t decoder_interface[6];
const int32_t decoder_interface[6] = {
    1, sizeof(Linear), sizeof(Layer), sizeof(Model), sizeof(Site), sizeof(Row),
};

int has_fast() {
#if defined(__AVX512BF16__)
    return 1;
#else
    return 0;
#endif
}

// `model` and all it points to must outlive the decoder. Null if this build doesn't have the kind, or if there is no
// room for another decoder's threads.
AnyStep* decoder_open(const Model* model, int threads) {
    try {
        if (model->kind == EXACT32) return new StepOf<Exact32>(threads, *model);
        if (model->kind == EXACT16) return new StepOf<Exact16>(threads, *model);
#if defined(__AVX512BF16__)
        if (model->kind == FAST) return new StepOf<Fast>(threads, *model);
#endif
    } catch (...) {
    }
    return nullptr;
}

// `tokens` of all rows one after the other; `logits` (kept tokens of all rows, head.outputs).
int decoder_step(AnyStep* decoder, const Row* rows, int count, const int32_t* tokens, float* logits) {
    try {
        decoder->run(rows, count, tokens, logits);
        return DONE;
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    } catch (...) {
        return FAILED;
    }
}

void decoder_close(AnyStep* decoder) { delete decoder; }
}
