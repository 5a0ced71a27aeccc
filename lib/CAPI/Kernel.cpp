#include "CAPI/Handles.h"

using namespace attnjit;
using namespace attnjit::capi;

namespace {
const Kernel &kernelOf(const attnjit_kernel *kernel) { return need(kernel, "kernel").value; }
} // namespace

attnjit_status attnjit_kernel_load(const char *path, const attnjit_hooks *hooks, int32_t device, attnjit_kernel **kernel,
                                   attnjit_error **error) {
  return answer(error, [&] { give(kernel, "kernel", [&] { return Kernel::load(&need(path, "path"), toHooks(hooks), device); }); });
}

attnjit_status attnjit_kernel_from_bytes(const void *bytes, size_t size, const attnjit_hooks *hooks, int32_t device,
                                         attnjit_kernel **kernel, attnjit_error **error) {
  return answer(error, [&] {
    give(kernel, "kernel",
         [&] { return Kernel::fromBytes(list(static_cast<const std::byte *>(bytes), size, "bytes"), toHooks(hooks), device); });
  });
}

void attnjit_kernel_retain(attnjit_kernel *kernel) { retain(kernel); }
void attnjit_kernel_release(attnjit_kernel *kernel) { release(kernel); }

attnjit_status attnjit_kernel_save(const attnjit_kernel *kernel, const char *path, attnjit_error **error) {
  return answer(error, [&] { take(kernelOf(kernel).save(&need(path, "path"))); });
}

attnjit_status attnjit_kernel_to_bytes(const attnjit_kernel *kernel, void **bytes, size_t *size, attnjit_error **error) {
  return answer(error, [&] {
    need(bytes, "bytes") = nullptr;
    need(size, "size") = 0;
    const std::vector<std::byte> image = take(kernelOf(kernel).bytes());
    *bytes = copyOf(image.data(), image.size());
    *size = image.size();
  });
}

attnjit_status attnjit_kernel_forward(const attnjit_kernel *kernel, const attnjit_forward_call *call, attnjit_report **report,
                                      attnjit_error **error) {
  return forward(report, error, [&] { return kernelOf(kernel).forward(toCall(call)); });
}

attnjit_status attnjit_kernel_get_info(const attnjit_kernel *kernel, attnjit_kernel_info *info, attnjit_error **error) {
  return answer(error, [&] {
    const Kernel &k = kernelOf(kernel);
    writeSized(info,
               {.struct_size = 0,
                .backend = static_cast<attnjit_backend>(k.backend()),
                .source = static_cast<attnjit_kernel_source>(k.source()),
                .pipeline = k.pipeline().c_str(),
                .problem_text = k.problemText().c_str(),
                .build_id = k.buildId().c_str(),
                .ptx = k.ptx().empty() ? "" : k.ptx().data(), // of a std::string: there is a zero behind it
                .code_bytes = k.codeBytes(),
                .workspace_bytes = k.workspaceBytes(),
                .tile_rows = k.tileRows(),
                .tile_cols = k.tileCols()},
               "attnjit_kernel_info");
  });
}

attnjit_status attnjit_kernel_get_mod(const attnjit_kernel *kernel, attnjit_mod **mod, attnjit_error **error) {
  return answer(error, [&] { give(mod, "mod", [&]() -> Result<Mod> { return kernelOf(kernel).mod(); }); });
}
