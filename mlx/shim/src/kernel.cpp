// GPU kernels of one's own. CUDA's and Metal's differ in how they are made only.

#include "shim.h"

namespace {

using Kernel = mx::fast::CustomKernelFunction;

// Config collects the arguments of a launch.
struct Config {
  std::vector<mx::Shape> shapes;
  std::vector<mx::Dtype> dtypes;
  std::tuple<int, int, int> grid{1, 1, 1};
  std::tuple<int, int, int> thread_group{1, 1, 1};
  std::vector<std::pair<std::string, mx::fast::TemplateArg>> templates;
  std::optional<float> init;
};

} // namespace

MLXC Handle<Kernel> mlx_fast_cuda_kernel_new(
    const char* name,
    mlx_vector_string inputs,
    mlx_vector_string outputs,
    const char* source,
    const char* header,
    bool row_contiguous,
    int shared_memory) {
  return create([&] {
    return make(
        mx::fast::cuda_kernel(
            name,
            get(inputs),
            get(outputs),
            source,
            header,
            row_contiguous,
            shared_memory));
  });
}

MLXC Handle<Kernel> mlx_fast_metal_kernel_new(
    const char* name,
    mlx_vector_string inputs,
    mlx_vector_string outputs,
    const char* source,
    const char* header,
    bool row_contiguous,
    bool atomic_outputs) {
  return create([&] {
    return make(
        mx::fast::metal_kernel(
            name,
            get(inputs),
            get(outputs),
            source,
            header,
            row_contiguous,
            atomic_outputs));
  });
}

#define KERNEL(kind) \
  MLXC void mlx_fast_##kind##_kernel_free(Handle<Kernel> k) { \
    drop(k); \
  } \
  MLXC int mlx_fast_##kind##_kernel_apply( \
      mlx_vector_array* out, \
      Handle<Kernel> k, \
      mlx_vector_array inputs, \
      Handle<Config> config, \
      mlx_stream s) { \
    return attempt([&] { \
      const Config& c = get(config); \
      put(out, \
          get(k)( \
              get(inputs), \
              c.shapes, \
              c.dtypes, \
              c.grid, \
              c.thread_group, \
              c.templates, \
              c.init, \
              false, \
              get(s))); \
    }); \
  } \
  MLXC Handle<Config> mlx_fast_##kind##_kernel_config_new() { \
    return create([] { return make(Config()); }); \
  } \
  MLXC void mlx_fast_##kind##_kernel_config_free(Handle<Config> c) { \
    drop(c); \
  } \
  MLXC int mlx_fast_##kind##_kernel_config_add_output_arg( \
      Handle<Config> c, const int* dims, size_t n, int type) { \
    return attempt([&] { \
      get(c).dtypes.push_back(dtype(type)); \
      get(c).shapes.push_back(shape(dims, n)); \
    }); \
  } \
  MLXC int mlx_fast_##kind##_kernel_config_set_grid( \
      Handle<Config> c, int x, int y, int z) { \
    return attempt([&] { get(c).grid = {x, y, z}; }); \
  } \
  MLXC int mlx_fast_##kind##_kernel_config_set_thread_group( \
      Handle<Config> c, int x, int y, int z) { \
    return attempt([&] { get(c).thread_group = {x, y, z}; }); \
  } \
  MLXC int mlx_fast_##kind##_kernel_config_set_init_value( \
      Handle<Config> c, float value) { \
    return attempt([&] { get(c).init = value; }); \
  } \
  MLXC int mlx_fast_##kind##_kernel_config_add_template_arg_dtype( \
      Handle<Config> c, const char* name, int type) { \
    return attempt([&] { get(c).templates.emplace_back(name, dtype(type)); }); \
  } \
  MLXC int mlx_fast_##kind##_kernel_config_add_template_arg_int( \
      Handle<Config> c, const char* name, int value) { \
    return attempt([&] { get(c).templates.emplace_back(name, value); }); \
  } \
  MLXC int mlx_fast_##kind##_kernel_config_add_template_arg_bool( \
      Handle<Config> c, const char* name, bool value) { \
    return attempt([&] { get(c).templates.emplace_back(name, value); }); \
  }

KERNEL(cuda)
KERNEL(metal)
