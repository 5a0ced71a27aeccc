#include "Aot/Artefact.h"
#include "attnjit/Version.h"

#include <fmt/format.h>

namespace attnjit::aot {

namespace {

/// The types that every header of this kind shares; the order of members is CallArgs' and KernelAbi.h's.
constexpr std::string_view kTypes = R"(
#include <stddef.h>
#include <stdint.h>

#ifndef ATTNJIT_AOT
#define ATTNJIT_AOT 1
/* Strides count elements, in the order batch, head, row, column; 0 repeats. lse, max and sinks have no column. */
typedef struct attnjit_aot_operand { void *data; int64_t strides[4]; } attnjit_aot_operand;
/* Factors of q, k or v, one for each batch and kv head. */
typedef struct attnjit_aot_factors { const float *data; int64_t strides[2]; } attnjit_aot_factors;
/* A captured tensor. */
typedef struct attnjit_aot_tensor { const void *data; int64_t sizes[6]; int64_t strides[6]; } attnjit_aot_tensor;

enum attnjit_aot_status {
  ATTNJIT_AOT_OK = 0,
  ATTNJIT_AOT_INDEX_OUT_OF_RANGE = 1, /* a formula indexed a captured tensor outside its sizes; the output is not usable */
  ATTNJIT_AOT_BAD_ARGUMENTS = 2,      /* sizes, strides or numbers that the function was not compiled for */
  ATTNJIT_AOT_NO_TARGET = 3,          /* compiled for none of what this machine is */
  ATTNJIT_AOT_FAILED = 4
};

/* Dense memory of [B, heads, rows, columns]. */
static inline attnjit_aot_operand attnjit_aot_dense(void *data, int64_t heads, int64_t rows, int64_t columns) {
  attnjit_aot_operand operand;
  operand.data = data;
  operand.strides[0] = heads * rows * columns;
  operand.strides[1] = rows * columns;
  operand.strides[2] = columns;
  operand.strides[3] = 1;
  return operand;
}
/* A dense captured tensor of `rank` sizes. */
static inline attnjit_aot_tensor attnjit_aot_dense_tensor(const void *data, int rank, const int64_t *sizes) {
  attnjit_aot_tensor tensor;
  int64_t stride = 1;
  int dim;
  tensor.data = data;
  for (dim = 5; dim >= 0; --dim) {
    tensor.sizes[dim] = dim < rank ? sizes[dim] : 0;
    tensor.strides[dim] = dim < rank ? stride : 0;
    stride *= dim < rank ? sizes[dim] : 1;
  }
  return tensor;
}
#endif

#ifdef __cplusplus
extern "C" {
#endif
)";

constexpr std::string_view kCallMembers = R"(  int64_t B, Hq, Hkv, M, N; /* Hq is a multiple of Hkv */
  double scale;             /* of the scores; 0: 1 / sqrt(D) */
  attnjit_aot_operand q, k, v, out;
  attnjit_aot_operand lse, max; /* data 0: not wanted */
)";

std::string upper(std::string text) {
  for (char &c : text)
    c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return text;
}

std::string tensorText(const CaptureInfo &info) {
  return fmt::format("{} of {} dimension{}", name(info.dtype), info.rank, info.rank == 1 ? "" : "s");
}

/// What a comment must not hold ends it.
std::string inComment(std::string text) {
  for (std::size_t at = 0; (at = text.find("*/", at)) != std::string::npos;)
    text.insert(at + 1, " ");
  return text;
}

std::string introduction(const Program &program) {
  const ImageMetadata &meta = program.meta();
  std::string targets, formula = inComment(program.mod.canonicalText());
  for (const TargetImage &image : program.images)
    targets += fmt::format("{}{}", targets.empty() ? "" : ", ", image.target.cpu);
  while (formula.ends_with('\n'))
    formula.pop_back();
  for (std::size_t at = 0; (at = formula.find('\n', at)) != std::string::npos; at += 7)
    formula.replace(at, 1, "\n *     ");
  const std::string_view q = name(meta.qType), kv = name(meta.kvType), lse = meta.qType == DType::F64 ? "f64" : "f32";
  std::string text =
      fmt::format("/* Attention, made ahead of time by attnjit {} for {}.\n *\n *     {}\n *\n", ATTNJIT_VERSION_STRING, targets, formula);
  text += fmt::format(
      " * q [B, Hq, M, {0}] {2}, k [B, Hkv, N, {0}] {3}, v [B, Hkv, N, {1}] {3}, out [B, Hq, M, {1}] {4}; lse and max [B, Hq, M] {5}{6}.\n",
      meta.D, meta.Dv, q, kv, name(meta.outType), lse, meta.sinks ? fmt::format("; sinks [Hq] {}", name(*meta.sinks)) : "");
  text += fmt::format(" * {} Sizes{} are any{}.\n",
                      meta.contiguous ? "The last stride of q, k, v and out is 1." : "The last stride of out is 1.",
                      program.arguments.numbers.empty() ? "" : " and numbers", meta.narrowIndices ? " up to 2^30" : "");
  if (program.kind == AotKind::Runtime)
    return text +
           (program.forGpu()
                ? " * Operands lie on the GPU; captured tensors there or, up to 1 MiB each, in host memory. Link with libattnjit. */\n"
                : " * Link with libattnjit. */\n");
  return text +
         fmt::format(
             " * Needs no library{}. Floating point has to be in its default state: round to nearest, gradual underflow, no traps. */\n",
             program.callsFunctions() ? " but libm" : "");
}

std::string argumentStruct(const Program &program) {
  const std::string &name = program.name;
  std::string text = fmt::format("\ntypedef struct {}_args {{\n{}", name, kCallMembers);
  text += fmt::format("  attnjit_aot_operand sinks; /* {} */\n", program.meta().sinks ? "strides[1] is that of heads" : "not read");
  text += "  attnjit_aot_factors q_descale, k_descale, v_descale; /* data 0: none */\n";
  if (program.kind == AotKind::Runtime)
    text += program.forGpu()
                ? "  int64_t threads; /* not read */\n  void *stream; /* a CUstream or cudaStream_t; 0: the default stream */\n"
                : "  int64_t threads; /* at most; 0: all processors */\n  void *stream; /* not read */\n";
  if (!program.arguments.tensors.empty()) {
    text += "  struct {\n";
    for (const Field &field : program.arguments.tensors)
      text += fmt::format("    attnjit_aot_tensor {}; /* {} */\n", field.cName, tensorText(field.info));
    text += "  } tensors;\n";
  }
  if (!program.arguments.numbers.empty()) {
    text += "  struct {\n";
    for (const Field &field : program.arguments.numbers)
      text += fmt::format("    {} {};{}\n", field.info.dtype == DType::F64 ? "double" : "int64_t", field.cName,
                          field.info.dtype == DType::Bool ? " /* 0 or 1 */" : "");
    text += "  } numbers;\n";
  }
  return text + fmt::format("}} {}_args;\n", name);
}

constexpr std::string_view kBareFunctions = R"(
#define {1}_WORKSPACE_BYTES {2}

/* Computes all of it on the calling thread. `workspace`: {1}_WORKSPACE_BYTES bytes, aligned to 64. An enum attnjit_aot_status. */
int {0}(const {0}_args *args, void *workspace);

/* The same for several threads: units 0 to {0}_units(args) are independent of each other; each thread has a workspace of its own. The result does not
 * depend on who computes what. */
int64_t {0}_units(const {0}_args *args);
int {0}_run(const {0}_args *args, int64_t begin, int64_t end, void *workspace);

/* Which of the targets this machine runs; 0 if none. */
const char *{0}_target(void);
)";

constexpr std::string_view kRuntimeFunctions = R"(
/* An enum attnjit_aot_status; {0}_error() says more. Any number of threads may call it at once.{1} */
int {0}(const {0}_args *args);

/* What went wrong in this thread's last call; "" if nothing did. */
const char *{0}_error(void);
{2}/* Which of the targets this machine runs; 0 if none. */
const char *{0}_target(void);
/* Forgets the loaded kernel, before a plugin is unloaded, say. No call may run meanwhile; the next one loads it again. */
void {0}_release(void);
)";

constexpr std::string_view kGpuStatus =
    R"(/* What only the end of this thread's last call can tell, after waiting for its stream: ATTNJIT_AOT_INDEX_OUT_OF_RANGE or ATTNJIT_AOT_OK. */
int {0}_status(void);
)";

} // namespace

std::string headerText(const Program &program) {
  const std::string guard = upper(program.name) + "_H";
  std::string text = introduction(program) + fmt::format("#ifndef {0}\n#define {0}\n", guard);
  text += kTypes;
  text += argumentStruct(program);
  if (program.kind == AotKind::Bare)
    text += fmt::format(fmt::runtime(kBareFunctions), program.name, upper(program.name), program.workspaceBytes());
  else
    text +=
        fmt::format(fmt::runtime(kRuntimeFunctions), program.name, program.forGpu() ? " It returns when the kernel is in the stream." : "",
                    program.forGpu() ? fmt::format(fmt::runtime(kGpuStatus), program.name) : "");
  return text + "\n#ifdef __cplusplus\n}\n#endif\n#endif\n";
}

} // namespace attnjit::aot
