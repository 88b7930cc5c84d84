// sum = a + b, and normed = sum / rms(sum) · w, rows of N elements. A block takes
// a row.
__shared__ float x[N];
__shared__ float partial[32];
const size_t start = (size_t)blockIdx.x * N;
float squares = 0;
for (int i = threadIdx.x; i < N; i += blockDim.x) {
  // The norm is of the sum as it is stored.
  const T s = static_cast<T>(static_cast<float>(a[start + i]) + static_cast<float>(b[start + i]));
  sum[start + i] = s;
  x[i] = static_cast<float>(s);
  squares += x[i] * x[i];
}
for (int step = 16; step > 0; step /= 2) {
  squares += __shfl_xor_sync(0xffffffff, squares, step);
}
if (threadIdx.x % 32 == 0) {
  partial[threadIdx.x / 32] = squares;
}
__syncthreads();
squares = threadIdx.x % 32 < blockDim.x / 32 ? partial[threadIdx.x % 32] : 0;
for (int step = 16; step > 0; step /= 2) {
  squares += __shfl_xor_sync(0xffffffff, squares, step);
}
const float scale = rsqrtf(squares / N + numbers[0]);
for (int i = threadIdx.x; i < N; i += blockDim.x) {
  normed[start + i] = static_cast<T>(x[i] * scale * static_cast<float>(w[i]));
}
