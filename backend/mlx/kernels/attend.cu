// Attention of single queries over paged keys and values (online softmax, as in
// Flash-Decoding). A block takes GROUP query heads that share a KV head, of one
// row, and a share of the row's positions; its warps take positions in turn.
// LANES lanes share a position: each has 16 elements of the head.
//
// q [rows, HEADS, HEAD_DIM]; pools [positions, KV_HEADS, HEAD_DIM]; meta [rows,
// 1 + pages]. With one share (gridDim.x == 1) out is [rows, HEADS, HEAD_DIM];
// otherwise it is float [rows, HEADS, shares, HEAD_DIM + 2], the sums relative to
// the maximum, then the maximum and the sum of weights: see combine.cu.
constexpr int LANES = HEAD_DIM / 16;
constexpr int PER_WARP = 32 / LANES;
const int lane = threadIdx.x % LANES;
const int sub = threadIdx.x / LANES;
const int warp = threadIdx.y;
const int row = blockIdx.z;
const int first_head = blockIdx.y * GROUP;
const int kv = first_head / (HEADS / KV_HEADS);
const int* place = meta + (size_t)row * meta_shape[1];
const int* table = place + 1;
const int total = place[0] + 1;

struct alignas(16) Vec {
  T v[16 / sizeof(T)];
};
constexpr int VECS = sizeof(T);  // of 16 bytes in 16 elements
constexpr int PER_VEC = 16 / sizeof(T);

float query[GROUP][16], acc[GROUP][16], top[GROUP], weight[GROUP];
#pragma unroll
for (int g = 0; g < GROUP; g++) {
  const T* in = q + ((size_t)row * HEADS + first_head + g) * HEAD_DIM + lane * 16;
#pragma unroll
  for (int i = 0; i < 16; i++) {
    query[g][i] = static_cast<float>(in[i]) * numbers[0];
    acc[g][i] = 0;
  }
  top[g] = -1e30f;
  weight[g] = 0;
}

int from = WINDOW > 0 && total > WINDOW ? total - WINDOW : 0;
const int share = (total - from + gridDim.x - 1) / gridDim.x;
from += share * blockIdx.x;
const int to = min(total, from + share);
for (int base = from + warp * PER_WARP; base < to; base += WARPS * PER_WARP) {
  const int p = base + sub;
  const bool in_range = p < to;
  // Lanes past the end read the last position again and leave it out.
  const int at = in_range ? p : to - 1;
  const size_t offset = (((size_t)table[at / PAGE] * PAGE + at % PAGE) * KV_HEADS + kv) * HEAD_DIM + lane * 16;
  Vec key[VECS], value[VECS];
#pragma unroll
  for (int i = 0; i < VECS; i++) {
    key[i] = reinterpret_cast<const Vec*>(k_pool + offset)[i];
    value[i] = reinterpret_cast<const Vec*>(v_pool + offset)[i];
  }
  float dot[GROUP];
#pragma unroll
  for (int g = 0; g < GROUP; g++) {
    dot[g] = 0;
#pragma unroll
    for (int i = 0; i < 16; i++) {
      dot[g] += query[g][i] * static_cast<float>(key[i / PER_VEC].v[i % PER_VEC]);
    }
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) {
      dot[g] += __shfl_xor_sync(0xffffffff, dot[g], step);
    }
    if (SOFT_CAP) {
      dot[g] = numbers[1] * tanhf(dot[g] / numbers[1]);
    }
  }
#pragma unroll
  for (int g = 0; g < GROUP; g++) {
    const float best = in_range ? fmaxf(top[g], dot[g]) : top[g];
    const float keep = __expf(top[g] - best);
    const float w = in_range ? __expf(dot[g] - best) : 0;
    top[g] = best;
    weight[g] = weight[g] * keep + w;
#pragma unroll
    for (int i = 0; i < 16; i++) {
      acc[g][i] = acc[g][i] * keep + w * static_cast<float>(value[i / PER_VEC].v[i % PER_VEC]);
    }
  }
}

// The positions of a warp come together by shuffles, those of a block in shared
// memory.
__shared__ float sums[WARPS][GROUP][HEAD_DIM];
__shared__ float tops[WARPS][GROUP], weights[WARPS][GROUP];
#pragma unroll
for (int g = 0; g < GROUP; g++) {
#pragma unroll
  for (int step = LANES; step < 32; step *= 2) {
    const float other = __shfl_xor_sync(0xffffffff, top[g], step);
    const float best = fmaxf(top[g], other);
    const float mine = __expf(top[g] - best), theirs = __expf(other - best);
    top[g] = best;
    weight[g] = weight[g] * mine + __shfl_xor_sync(0xffffffff, weight[g], step) * theirs;
#pragma unroll
    for (int i = 0; i < 16; i++) {
      acc[g][i] = acc[g][i] * mine + __shfl_xor_sync(0xffffffff, acc[g][i], step) * theirs;
    }
  }
  if (sub == 0) {
#pragma unroll
    for (int i = 0; i < 16; i++) {
      sums[warp][g][lane * 16 + i] = acc[g][i];
    }
    if (lane == 0) {
      tops[warp][g] = top[g];
      weights[warp][g] = weight[g];
    }
  }
}
__syncthreads();
for (int e = threadIdx.y * 32 + threadIdx.x; e < GROUP * HEAD_DIM; e += WARPS * 32) {
  const int g = e / HEAD_DIM, i = e % HEAD_DIM;
  float best = -1e30f, sum = 0, total_weight = 0;
  for (int w = 0; w < WARPS; w++) {
    best = fmaxf(best, tops[w][g]);
  }
  for (int w = 0; w < WARPS; w++) {
    const float scale = __expf(tops[w][g] - best);
    sum += sums[w][g][i] * scale;
    total_weight += weights[w][g] * scale;
  }
  const size_t head = (size_t)row * HEADS + first_head + g;
  if (LAST) {
    out[head * HEAD_DIM + i] = static_cast<O>(sum / total_weight);
  } else {
    O* part = out + (head * gridDim.x + blockIdx.x) * (HEAD_DIM + 2);
    part[i] = static_cast<O>(sum);
    if (i == 0) {
      part[HEAD_DIM] = static_cast<O>(best);
      part[HEAD_DIM + 1] = static_cast<O>(total_weight);
    }
  }
}
