// out [rows, N] = x [rows, K] · wᵀ for few rows and a weight in MLX's affine
// layout of 4 bits: codes w [N, K/8], scales and biases [N, K/GROUP]. If GATED, the
// first half of w's rows is a gate: out [rows, N/2] = silu(gate)·up.
//
// A block makes 16 columns of out; its warps share the elements of a row among
// them. With so few rows the time is that of reading w, so each code is read once
// and multiplied with all rows by tensor cores (mma m16n8k16, w as the left side).
// The sum may run over the elements in any order, so a lane takes 32 neighbours of
// a row in one load, and they serve as its share of eight products.
using T2 = cuda::std::conditional_t<BF16, __nv_bfloat162, __half2>;
constexpr int CHUNK = 128;
constexpr int SETS = GATED ? 2 : 1;
const int N = w_shape[0] / SETS;
const int K = x_shape[1];
const int rows = x_shape[0];
const int chunks = K / CHUNK;
const int share = (chunks + WARPS - 1) / WARPS;
const int lane = threadIdx.x;
const int warp = threadIdx.y;
const int c = lane % 4;
const int g = lane / 4;
// Half h of set s of the block's rows of w begins here; a lane reads one of each.
auto row_of = [&](int s, int h) { return (size_t)s * N + blockIdx.x * 16 + h * 8 + g; };

// A code in the low bits of this number's mantissa adds to it.
constexpr unsigned MAGIC = BF16 ? 0x43004300u : 0x64006400u;
const unsigned magic_bits = MAGIC;
const T2 magic = *reinterpret_cast<const T2*>(&magic_bits);

float acc[SETS][TILES][4] = {};
const int first = warp * share;
const int last = min(chunks, first + share);
uint4 next[SETS][2];
auto load = [&](int chunk) {
#pragma unroll
  for (int s = 0; s < SETS; s++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      next[s][h] = reinterpret_cast<const uint4*>(w + row_of(s, h) * (K / 8))[chunk * 4 + c];
    }
  }
};
if (first < last) {
  load(first);
}
for (int chunk = first; chunk < last; chunk++) {
  const int k = chunk * CHUNK + c * 32;
  uint4 codes[SETS][2];
  T2 scale[SETS][2], bias[SETS][2];
#pragma unroll
  for (int s = 0; s < SETS; s++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      codes[s][h] = next[s][h];
      const size_t at = row_of(s, h) * (K / GROUP) + k / GROUP;
      scale[s][h] = {scales[at], scales[at]};
      bias[s][h] = {biases[at], biases[at]};
    }
  }
  if (chunk + 1 < last) {
    load(chunk + 1);
  }
#pragma unroll
  for (int j = 0; j < 4; j++) {
    // Pairs of elements i and i + 4 of eight: that is how codes come apart.
    unsigned right[TILES][4];
#pragma unroll
    for (int t = 0; t < TILES; t++) {
      uint4 in = {0, 0, 0, 0};
      if (t * 8 + g < rows) {
        in = *reinterpret_cast<const uint4*>(x + (size_t)(t * 8 + g) * K + k + j * 8);
      }
      right[t][0] = __byte_perm(in.x, in.z, 0x5410);
      right[t][1] = __byte_perm(in.x, in.z, 0x7632);
      right[t][2] = __byte_perm(in.y, in.w, 0x5410);
      right[t][3] = __byte_perm(in.y, in.w, 0x7632);
    }
#pragma unroll
    for (int s = 0; s < SETS; s++) {
      unsigned left[2][4];
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const unsigned word = reinterpret_cast<const unsigned*>(&codes[s][h])[j];
#pragma unroll
        for (int i = 0; i < 4; i++) {
          unsigned u = ((word >> (4 * i)) & 0x000f000fu) | MAGIC;
          const T2 v = __hfma2(__hsub2(*reinterpret_cast<T2*>(&u), magic), scale[s][h], bias[s][h]);
          left[h][i] = *reinterpret_cast<const unsigned*>(&v);
        }
      }
#pragma unroll
      for (int t = 0; t < TILES; t++) {
        float* a = acc[s][t];
#pragma unroll
        for (int i = 0; i < 4; i += 2) {
          if (BF16) {
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                         : "+f"(a[0]), "+f"(a[1]), "+f"(a[2]), "+f"(a[3])
                         : "r"(left[0][i]), "r"(left[1][i]), "r"(left[0][i + 1]), "r"(left[1][i + 1]), "r"(right[t][i]), "r"(right[t][i + 1]));
          } else {
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                         : "+f"(a[0]), "+f"(a[1]), "+f"(a[2]), "+f"(a[3])
                         : "r"(left[0][i]), "r"(left[1][i]), "r"(left[0][i + 1]), "r"(left[1][i + 1]), "r"(right[t][i]), "r"(right[t][i + 1]));
          }
        }
      }
    }
  }
}

__shared__ float sums[WARPS][SETS][16][TILES * 8 + 1];
#pragma unroll
for (int s = 0; s < SETS; s++) {
#pragma unroll
  for (int t = 0; t < TILES; t++) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      sums[warp][s][g + i / 2 * 8][t * 8 + 2 * c + i % 2] = acc[s][t][i];
    }
  }
}
__syncthreads();
for (int e = warp * 32 + lane; e < 16 * TILES * 8; e += WARPS * 32) {
  const int row = e / 16, col = e % 16;
  if (row < rows) {
    float sum[SETS] = {};
#pragma unroll
    for (int s = 0; s < SETS; s++) {
#pragma unroll
      for (int i = 0; i < WARPS; i++) {
        sum[s] += sums[i][s][col][row];
      }
    }
    float y = sum[0];
    if (GATED) {
      // The parts are rounded as if they had been stored.
      y = static_cast<float>(static_cast<T>(y));
      y = y / (1 + __expf(-y)) * static_cast<float>(static_cast<T>(sum[SETS - 1]));
    }
    out[(size_t)row * N + blockIdx.x * 16 + col] = static_cast<T>(y);
  }
}
