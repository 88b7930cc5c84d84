// Copies the first rows of a page to another, in place: places = {from, to, n},
// in rows of ROW elements.
const int i = blockIdx.x * blockDim.x + threadIdx.x;
T* pool_out = const_cast<T*>(pool);
if (i < places[2] * ROW) {
  pool_out[(size_t)places[1] * ROW + i] = pool[(size_t)places[0] * ROW + i];
}
if (i == 0) {
  done[0] = 1;
}
