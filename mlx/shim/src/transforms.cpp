// Evaluating, functions and their compilation.

#include "shim.h"

MLXC int mlx_eval(mlx_vector_array arrays) {
  return attempt([&] { mx::eval(get(arrays)); });
}

MLXC int mlx_async_eval(mlx_vector_array arrays) {
  return attempt([&] { mx::async_eval(get(arrays)); });
}

MLXC mlx_closure mlx_closure_new_func_payload(
    int (*f)(mlx_vector_array*, mlx_vector_array, void*),
    void* payload,
    void (*dtor)(void*)) {
  return create([&] {
    std::shared_ptr<void> held(payload, dtor ? dtor : [](void*) {});
    return make(Function([f, held](const Arrays& input) {
      Arrays in = input;
      mlx_vector_array out{nullptr};
      int failed = f(&out, mlx_vector_array{&in}, held.get());
      std::unique_ptr<Arrays> result(static_cast<Arrays*>(out.ctx));
      if (failed || !result) {
        throw std::runtime_error("the function failed");
      }
      return std::move(*result);
    }));
  });
}

MLXC int mlx_closure_free(mlx_closure f) {
  return drop(f);
}

MLXC int mlx_closure_apply(
    mlx_vector_array* out,
    mlx_closure f,
    mlx_vector_array in) {
  return attempt([&] { put(out, get(f)(get(in))); });
}

MLXC int mlx_compile(mlx_closure* out, mlx_closure f, bool shapeless) {
  return attempt([&] { put(out, mx::compile(get(f), shapeless)); });
}
