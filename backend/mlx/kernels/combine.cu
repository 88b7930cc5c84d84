// Brings the shares of attend.cu together: parts [rows·heads, shares, HEAD_DIM +
// 2] to out [rows·heads, HEAD_DIM]. A block takes one head of one row.
const int shares = parts_shape[1];
const int i = threadIdx.x;
const float* part = parts + (size_t)blockIdx.x * shares * (HEAD_DIM + 2);
float best = -1e30f;
for (int s = 0; s < shares; s++) {
  best = fmaxf(best, part[s * (HEAD_DIM + 2) + HEAD_DIM]);
}
float sum = 0, weight = 0;
for (int s = 0; s < shares; s++) {
  const float* p = part + s * (HEAD_DIM + 2);
  const float scale = __expf(p[HEAD_DIM] - best);
  sum += p[i] * scale;
  weight += p[HEAD_DIM + 1] * scale;
}
out[(size_t)blockIdx.x * HEAD_DIM + i] = static_cast<T>(sum / weight);
