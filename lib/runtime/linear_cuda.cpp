// The operator `linear` on CUDA. docs/operator.md has the rule by which torch's own runs, docs/kernels/fp32.md the
// measurements behind it.
#include <dlfcn.h>
#include <flashconvert/kernels/linear.h>

#include "arguments.h"
#include "cuda_device.h"
#include "kernel_record.h"
#include "linear.h"

namespace flashconvert::runtime {
namespace {

// Whether the user has traded float32's accuracy for speed (torch.backends.cuda.matmul.allow_tf32,
// set_float32_matmul_precision): torch's then is the faster one. The stable interface has no question for it, so the
// functions behind it are looked up; a torch without them has no such setting. It throws where the setting was made in
// a way that the question does not cover, and then torch shall decide.
bool allows_tf32() {
  using GlobalContext = void* (*)();
  using AllowsTf32 = bool (*)(const void*);
  static void* const library = dlopen("libtorch_cpu.so", RTLD_NOW | RTLD_NOLOAD);
  static void* const handle = library != nullptr ? library : RTLD_DEFAULT;
  static const auto global_context = reinterpret_cast<GlobalContext>(dlsym(handle, "_ZN2at13globalContextEv"));
  static const auto allows = reinterpret_cast<AllowsTf32>(dlsym(handle, "_ZNK2at7Context15allowTF32CuBLASEv"));
  if (global_context == nullptr || allows == nullptr) {
    return false;
  }
  try {
    return allows(global_context());
  } catch (...) {
    return true;
  }
}

// What the kernel reads, and the tensors that keep it alive.
struct Launch {
  Tensor rows;  // the input with its batch dimensions folded
  std::optional<Tensor> bias;
  Tensor output;
  kernels::LinearProblem problem;
};

kernels::MatrixView view_of(const Tensor& matrix) {
  return {static_cast<const float*>(matrix.const_data_ptr()), matrix.stride(0), matrix.stride(1)};
}

kernels::Activation activation_of(const std::string& name) {
  if (name == "gelu") return kernels::Activation::kGelu;
  if (name == "gelu_tanh") return kernels::Activation::kGeluTanh;
  if (name == "relu") return kernels::Activation::kRelu;
  if (name == "silu") return kernels::Activation::kSilu;
  return kernels::Activation::kNone;
}

Launch prepare(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
               const std::string& activation) {
  const std::int64_t in_features = weight.size(1);
  const std::int64_t out_features = weight.size(0);
  Launch launch{
      aten::reshape(input, {-1, in_features}), std::nullopt, linear_on_meta(input, weight, bias, activation), {}};
  if (bias) {
    launch.bias = aten::contiguous(*bias);
  }
  kernels::LinearProblem& problem = launch.problem;
  problem.rows = launch.rows.size(0);
  problem.in_features = in_features;
  problem.out_features = out_features;
  problem.input = view_of(launch.rows);
  problem.weight = view_of(weight);
  problem.bias = launch.bias ? static_cast<const float*>(launch.bias->const_data_ptr()) : nullptr;
  problem.activation = activation_of(activation);
  problem.output = static_cast<float*>(launch.output.mutable_data_ptr());
  problem.output_row_stride = out_features;
  return launch;
}

bool kernels_may_take(const Tensor& input, const Tensor& weight) {
  const Sizes sizes = sizes_of(input);
  const std::int64_t features = weight.size(1);
  return input.scalar_type() == ScalarType::Float && features >= kernels::kLeastInFeatures &&
         weight.size(0) >= kernels::kLeastOutFeatures && product(sizes) >= kernels::kLeastRows * features &&
         knows_current_stream() && !allows_tf32();
}

}  // namespace

Tensor linear_on_cuda(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                      const std::string& activation) {
  if (kernels_may_take(input, weight)) {
    const int device = input.get_device_index();
    const CurrentDevice current(device);
    const int capability = compute_capability(device);
    const Launch launch = prepare(input, weight, bias, activation);
    if (const char* name = kernels::select_kernel(launch.problem, capability)) {
      void* const stream = current_stream(device);
      const std::optional<Tensor> workspace =
          make_workspace(launch.output, kernels::workspace_bytes(launch.problem, capability));
      check_cuda(kernels::linear_forward(launch.problem, data_of(workspace), stream),
                 "the kernel for a linear layer did not start");
      record_kernel(name);
      return launch.output;
    }
  }
  return torch_linear(input, weight, bias, activation);
}

}  // namespace flashconvert::runtime
