// out [rows, N] = x [rows, K] · wᵀ for few rows and a weight in MLX's affine
// layout of 4 bits: codes w [N, K/8], scales and biases [N, K/GROUP].
//
// A block makes 16 columns of out; its warps share the elements of a row among
// them. With so few rows the time is that of reading w, so each code is read once
// and multiplied with all rows by tensor cores (mma m16n8k16, w as the left side).
// The sum may run over the elements in any order, so a lane takes 32 neighbours of
// a row in one load, and they serve as its share of eight products.
using T2 = cuda::std::conditional_t<BF16, __nv_bfloat162, __half2>;
constexpr int CHUNK = 128;
const int N = w_shape[0];
const int K = x_shape[1];
const int chunks = K / CHUNK;
const int share = (chunks + WARPS - 1) / WARPS;
const int lane = threadIdx.x;
const int warp = threadIdx.y;
const int c = lane % 4;
const int g = lane / 4;
const int n = blockIdx.x * 16 + g;
const int rows = x_shape[0];
const uint4* w0 = reinterpret_cast<const uint4*>(w + (size_t)n * (K / 8)) + c;
const uint4* w1 = w0 + 8 * (K / 32);
const T* s0 = scales + (size_t)n * (K / GROUP);
const T* s1 = s0 + 8 * (K / GROUP);
const T* b0 = biases + (size_t)n * (K / GROUP);
const T* b1 = b0 + 8 * (K / GROUP);

// A code in the low bits of this number's mantissa adds to it.
constexpr unsigned MAGIC = BF16 ? 0x43004300u : 0x64006400u;
const unsigned magic_bits = MAGIC;
const T2 magic = *reinterpret_cast<const T2*>(&magic_bits);

float acc[TILES][4];
#pragma unroll
for (int t = 0; t < TILES; t++) {
  acc[t][0] = acc[t][1] = acc[t][2] = acc[t][3] = 0;
}
const int first = warp * share;
const int last = min(chunks, first + share);
uint4 next0, next1;
if (first < last) {
  next0 = w0[first * 4];
  next1 = w1[first * 4];
}
for (int chunk = first; chunk < last; chunk++) {
  const uint4 codes0 = next0, codes1 = next1;
  if (chunk + 1 < last) {
    next0 = w0[(chunk + 1) * 4];
    next1 = w1[(chunk + 1) * 4];
  }
  const int k = chunk * CHUNK + c * 32;
  const T2 scale0 = {s0[k / GROUP], s0[k / GROUP]}, scale1 = {s1[k / GROUP], s1[k / GROUP]};
  const T2 bias0 = {b0[k / GROUP], b0[k / GROUP]}, bias1 = {b1[k / GROUP], b1[k / GROUP]};
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const unsigned word0 = reinterpret_cast<const unsigned*>(&codes0)[j];
    const unsigned word1 = reinterpret_cast<const unsigned*>(&codes1)[j];
    // Pairs of codes i and i + 4 of a word.
    unsigned a0[4], a1[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      unsigned u0 = ((word0 >> (4 * i)) & 0x000f000fu) | MAGIC;
      unsigned u1 = ((word1 >> (4 * i)) & 0x000f000fu) | MAGIC;
      const T2 v0 = __hfma2(__hsub2(*reinterpret_cast<T2*>(&u0), magic), scale0, bias0);
      const T2 v1 = __hfma2(__hsub2(*reinterpret_cast<T2*>(&u1), magic), scale1, bias1);
      a0[i] = *reinterpret_cast<const unsigned*>(&v0);
      a1[i] = *reinterpret_cast<const unsigned*>(&v1);
    }
#pragma unroll
    for (int t = 0; t < TILES; t++) {
      uint4 in = {0, 0, 0, 0};
      if (t * 8 + g < rows) {
        in = *reinterpret_cast<const uint4*>(x + (size_t)(t * 8 + g) * K + k + j * 8);
      }
      const unsigned pairs[4] = {__byte_perm(in.x, in.z, 0x5410), __byte_perm(in.x, in.z, 0x7632),
                                 __byte_perm(in.y, in.w, 0x5410), __byte_perm(in.y, in.w, 0x7632)};
#pragma unroll
      for (int h = 0; h < 4; h += 2) {
        if (BF16) {
          asm volatile(
              "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
              : "+f"(acc[t][0]), "+f"(acc[t][1]), "+f"(acc[t][2]), "+f"(acc[t][3])
              : "r"(a0[h]), "r"(a1[h]), "r"(a0[h + 1]), "r"(a1[h + 1]), "r"(pairs[h]), "r"(pairs[h + 1]));
        } else {
          asm volatile(
              "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
              : "+f"(acc[t][0]), "+f"(acc[t][1]), "+f"(acc[t][2]), "+f"(acc[t][3])
              : "r"(a0[h]), "r"(a1[h]), "r"(a0[h + 1]), "r"(a1[h + 1]), "r"(pairs[h]), "r"(pairs[h + 1]));
        }
      }
    }
  }
}

__shared__ float sums[WARPS][16][TILES * 8 + 1];
#pragma unroll
for (int t = 0; t < TILES; t++) {
  sums[warp][g][t * 8 + 2 * c] = acc[t][0];
  sums[warp][g][t * 8 + 2 * c + 1] = acc[t][1];
  sums[warp][g + 8][t * 8 + 2 * c] = acc[t][2];
  sums[warp][g + 8][t * 8 + 2 * c + 1] = acc[t][3];
}
__syncthreads();
for (int e = warp * 32 + lane; e < 16 * TILES * 8; e += WARPS * 32) {
  const int row = e / 16, col = e % 16;
  if (row < rows) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < WARPS; i++) {
      sum += sums[i][col][row];
    }
    out[(size_t)row * N + blockIdx.x * 16 + col] = static_cast<T>(sum);
  }
}
