// One warp takes one head of one row of the fused projection qkv [rows, (HEADS +
// 2·KV_HEADS)·HEAD_DIM]. Queries and keys are normalized (NORM) and rotated to
// the row's position; queries go to q, keys and values to k and to their places
// in the layer's pools, which are written in place.
//
// meta [rows, 1 + pages] is each row's position and its sequence's page table.
constexpr int TOTAL = HEADS + 2 * KV_HEADS;
const int lane = threadIdx.x;
const int head = blockIdx.y * blockDim.y + threadIdx.y;
const int row = blockIdx.z;
__shared__ float shared[4][HEAD_DIM];
if (head >= TOTAL) {
  return;
}
float* x = shared[threadIdx.y];
const int* place = meta + (size_t)row * meta_shape[1];
const int pos = place[0];
const T* in = qkv + ((size_t)row * TOTAL + head) * HEAD_DIM;
float sum = 0;
for (int i = lane; i < HEAD_DIM; i += 32) {
  float v = static_cast<float>(in[i]);
  x[i] = v;
  sum += v * v;
}
__syncwarp();
if (head < HEADS + KV_HEADS) {
  if (NORM) {
    for (int step = 16; step > 0; step /= 2) {
      sum += __shfl_xor_sync(0xffffffff, sum, step);
    }
    const T* w = head < HEADS ? qnorm : knorm;
    float scale = rsqrtf(sum / HEAD_DIM + numbers[0]);
    for (int i = lane; i < HEAD_DIM; i += 32) {
      x[i] *= scale * static_cast<float>(w[i]);
    }
    __syncwarp();
  }
  for (int p = lane; p < ROPE_DIMS / 2; p += 32) {
    const int i = INTERLEAVED ? 2 * p : p;
    const int j = INTERLEAVED ? 2 * p + 1 : p + ROPE_DIMS / 2;
    float s, c;
    sincosf(pos * inv_freq[p], &s, &c);
    const float a = x[i] * numbers[1], b = x[j] * numbers[1];
    x[i] = a * c - b * s;
    x[j] = b * c + a * s;
  }
  __syncwarp();
}
if (head < HEADS) {
  T* out = q + ((size_t)row * HEADS + head) * HEAD_DIM;
  for (int i = lane; i < HEAD_DIM; i += 32) {
    out[i] = static_cast<T>(x[i]);
  }
  return;
}
const int kv = (head - HEADS) % KV_HEADS;
const size_t slot = (size_t)place[1 + pos / PAGE] * PAGE + pos % PAGE;
const bool is_key = head < HEADS + KV_HEADS;
T* out = const_cast<T*>(is_key ? k_pool : v_pool) + (slot * KV_HEADS + kv) * HEAD_DIM;
T* copy = k + ((size_t)row * KV_HEADS + kv) * HEAD_DIM;
for (int i = lane; i < HEAD_DIM; i += 32) {
  const T v = static_cast<T>(x[i]);
  out[i] = v;
  if (is_key) {
    copy[i] = v;
  }
}
