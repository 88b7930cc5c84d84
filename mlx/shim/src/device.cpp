// Devices, streams and memory.

#include "shim.h"

#include "mlx/backend/cuda/cuda.h"
#include "mlx/backend/metal/metal.h"
#include "mlx/memory.h"

namespace {

// found is what the get functions of mlx_device_info return besides 0: the
// property is not there, or is of the other type. It is no failure.
constexpr int not_found = 2;

mx::Device::DeviceType device_type(int number) {
  switch (number) {
    case 0:
      return mx::Device::cpu;
    case 1:
      return mx::Device::gpu;
  }
  throw std::invalid_argument("unknown device type " + std::to_string(number));
}

template <class T>
const T* property(mlx_device_info info, const char* key) {
  const auto& properties = get(info);
  auto it = properties.find(key);
  return it == properties.end() ? nullptr : std::get_if<T>(&it->second);
}

} // namespace

MLXC mlx_device mlx_device_new_type(int type, int index) {
  return create([&] { return make(mx::Device(device_type(type), index)); });
}

MLXC int mlx_device_free(mlx_device d) {
  return drop(d);
}

MLXC int mlx_device_count(int* out, int type) {
  return attempt([&] { *out = mx::device_count(device_type(type)); });
}

MLXC mlx_device_info mlx_device_info_new() {
  return {nullptr};
}

MLXC int mlx_device_info_get(mlx_device_info* out, mlx_device d) {
  return attempt([&] { put(out, DeviceInfo(mx::device_info(get(d)))); });
}

MLXC int mlx_device_info_free(mlx_device_info info) {
  return drop(info);
}

MLXC int mlx_device_info_get_string(
    const char** out,
    mlx_device_info info,
    const char* key) {
  const std::string* value = nullptr;
  int failed = attempt([&] { value = property<std::string>(info, key); });
  if (value) {
    *out = value->c_str();
  }
  return failed ? failed : (value ? 0 : not_found);
}

MLXC int mlx_device_info_get_size(
    size_t* out,
    mlx_device_info info,
    const char* key) {
  const size_t* value = nullptr;
  int failed = attempt([&] { value = property<size_t>(info, key); });
  if (value) {
    *out = *value;
  }
  return failed ? failed : (value ? 0 : not_found);
}

MLXC int mlx_metal_is_available(bool* out) {
  return attempt([&] { *out = mx::metal::is_available(); });
}

MLXC int mlx_cuda_is_available(bool* out) {
  return attempt([&] { *out = mx::cu::is_available(); });
}

MLXC mlx_stream mlx_stream_new_device(mlx_device d) {
  return create([&] { return make(mx::new_stream(get(d))); });
}

MLXC int mlx_stream_free(mlx_stream s) {
  return drop(s);
}

MLXC int mlx_synchronize(mlx_stream s) {
  return attempt([&] { mx::synchronize(get(s)); });
}

#define MEMORY_FIGURE(name) \
  MLXC int mlx_##name(size_t* out) { \
    return attempt([&] { *out = mx::name(); }); \
  }

MEMORY_FIGURE(get_active_memory)
MEMORY_FIGURE(get_peak_memory)
MEMORY_FIGURE(get_cache_memory)
MEMORY_FIGURE(get_memory_limit)

#define MEMORY_LIMIT(name) \
  MLXC int mlx_##name(size_t* out, size_t limit) { \
    return attempt([&] { *out = mx::name(limit); }); \
  }

MEMORY_LIMIT(set_memory_limit)
MEMORY_LIMIT(set_cache_limit)
MEMORY_LIMIT(set_wired_limit)

MLXC int mlx_reset_peak_memory() {
  return attempt([] { mx::reset_peak_memory(); });
}

MLXC int mlx_clear_cache() {
  return attempt([] { mx::clear_cache(); });
}
