// What training computes in compiled code, as ctypes calls it (library.py). Leaves out the products, which are torch's.
#include "attention.h"
#include "rows.h"

extern "C" {

// Counts changes of what stands below; library.py knows the number that it was written for.
int32_t training_interface = 1;

void training_attend(const Tree* tree, const Heads* heads, const bfloat16* qkv, bfloat16* context, float* log_sum,
                     int threads) {
    attend(*tree, *heads, qkv, context, log_sum, threads);
}

void training_attend_backward(const Tree* tree, const Heads* heads, const bfloat16* qkv, const bfloat16* context,
                              const float* log_sum, const bfloat16* d_context, float* slots, bfloat16* d_qkv,
                              int threads) {
    attend_backward(*tree, *heads, qkv, context, log_sum, d_context, slots, d_qkv, threads);
}

void training_norm(const bfloat16* x, const bfloat16* weight, float epsilon, int tokens, int width, bfloat16* normed,
                   float* scales, int threads) {
    norm(x, weight, epsilon, tokens, width, normed, scales, threads);
}

void training_norm_backward(const bfloat16* d_normed, const bfloat16* x, const float* scales, const bfloat16* weight,
                            const bfloat16* added, int tokens, int width, bfloat16* d_x, int threads) {
    norm_backward(d_normed, x, scales, weight, added, tokens, width, d_x, threads);
}

void training_gated(const bfloat16* gate_up, int tokens, int width, bfloat16* activated, int threads) {
    gated(gate_up, tokens, width, activated, threads);
}

void training_gated_backward(const bfloat16* d_activated, const bfloat16* gate_up, int tokens, int width,
                             bfloat16* d_gate_up, int threads) {
    gated_backward(d_activated, gate_up, tokens, width, d_gate_up, threads);
}

void training_label_log_probs(bfloat16* logits, const int64_t* labels, int tokens, int width, int keep,
                              float* log_probs, bool* top, int threads) {
    label_log_probs(logits, labels, tokens, width, keep, log_probs, top, threads);
}
}
