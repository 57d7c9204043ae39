// Sixteen floats at a time, in the compiler's own vectors: AVX-512 has them in a register, AVX2 in two.
// Leaves out everything that knows a model.
#pragma once
#include <cstdint>
#include <cstring>

typedef float Floats __attribute__((vector_size(64), aligned(4)));
typedef int32_t Ints __attribute__((vector_size(64), aligned(4)));
typedef uint32_t Bits __attribute__((vector_size(64), aligned(4)));
typedef uint16_t Halves __attribute__((vector_size(32), aligned(2)));
typedef uint16_t bfloat16;

constexpr int LANES = 16;
static inline Floats widened(Halves half) { return (Floats)(__builtin_convertvector(half, Bits) << 16); }

static inline Floats load(const float* from) { return *(const Floats*)from; }
static inline Floats load(const bfloat16* from) { return widened(*(const Halves*)from); }

static inline void store(float* to, Floats value) { *(Floats*)to = value; }
static inline void store(bfloat16* to, Floats value) {  // to nearest, ties to even
    Bits bits = (Bits)value;
    bits += 0x7fff + ((bits >> 16) & 1);
    *(Halves*)to = __builtin_convertvector(bits >> 16, Halves);
}

// As much as one register holds, for what is added up there: compilers keep wider vectors in memory.
#if defined(__AVX512F__)
constexpr int NATIVE = 16;
#else
constexpr int NATIVE = 8;
#endif
constexpr int PARTS = LANES / NATIVE;
typedef float Vector __attribute__((vector_size(4 * NATIVE), aligned(4)));
typedef uint32_t VectorBits __attribute__((vector_size(4 * NATIVE), aligned(4)));
typedef uint16_t VectorHalves __attribute__((vector_size(2 * NATIVE), aligned(2)));

static inline Vector load_vector(const float* from) { return *(const Vector*)from; }
static inline Vector load_vector(const bfloat16* from) {
    return (Vector)(__builtin_convertvector(*(const VectorHalves*)from, VectorBits) << 16);
}
static inline void store_vector(float* to, Vector value) { *(Vector*)to = value; }
static inline void store_vector(bfloat16* to, Vector value) {  // to nearest, ties to even
    VectorBits bits = (VectorBits)value;
    bits += 0x7fff + ((bits >> 16) & 1);
    *(VectorHalves*)to = __builtin_convertvector(bits >> 16, VectorHalves);
}

static inline float widened(float value) { return value; }
static inline float widened(bfloat16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, 4);
    return wide;
}
static inline void narrow(float* to, float value) { *to = value; }
static inline void narrow(bfloat16* to, float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    *to = (bfloat16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float sum(Floats value) {
    float total = 0;
    for (int lane = 0; lane < LANES; lane++) total += value[lane];
    return total;
}

// e^x to about one unit in the last place: Cephes' expf (S. Moshier), reduced by multiples of ln 2.
static inline Floats exponential(Floats x) {
    x = x < -87.0f ? Floats{} - 87.0f : x;
    x = x > 88.0f ? Floats{} + 88.0f : x;
    const Floats magic = Floats{} + 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    Floats n = (x * 1.44269504f + magic) - magic;
    Floats r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return (Floats)((Ints)p + (__builtin_convertvector(n, Ints) << 23));
}
