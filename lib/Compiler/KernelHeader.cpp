#include "Compiler/KernelHeader.h"

#include "Compiler/SpecReader.h"
#include "attnjit/KernelAbi.h"

#include <fmt/format.h>

namespace attnjit::compiler {

std::string print(const KernelHeader &header) {
  return fmt::format(
      "abi = {}\nworkspace_bytes = {}\nstate_row_bytes = {}\nrounds = {}\nfunction_table = {}\nthreads_per_block = {}\nshared_bytes = "
      "{}\nq_box_rows = {}\nkv_box_rows = {}\nhas_mask = {}\nclosed_form = {}\n{}",
      kAbiVersion, header.workspaceBytes, header.stateRowBytes, header.rounds, header.callsFunctions, header.threadsPerBlock,
      header.sharedBytes, header.qBoxRows, header.kvBoxRows, header.hasMask, header.hasClosedForm, print(header.spec));
}

Result<KernelHeader> parseHeader(std::string_view text) {
  KernelHeader header;
  std::int64_t abi = 0;
  const Result<std::string_view> formula = readLines(text, [&](FieldReader &reader) {
    reader.field("abi", abi, "an integer")
        .field("workspace_bytes", header.workspaceBytes, "a number of bytes")
        .field("state_row_bytes", header.stateRowBytes, "a number of bytes")
        .field("rounds", header.rounds, "1 or 2")
        .field("function_table", header.callsFunctions, "true or false")
        .field("threads_per_block", header.threadsPerBlock, "a number of threads")
        .field("shared_bytes", header.sharedBytes, "a number of bytes")
        .field("q_box_rows", header.qBoxRows, "a number of rows")
        .field("kv_box_rows", header.kvBoxRows, "a number of rows")
        .field("has_mask", header.hasMask, "true or false")
        .field("closed_form", header.hasClosedForm, "true or false");
    readSpecFields(reader, header.spec);
  });
  if (!formula)
    return formula.error();
  if (abi != kAbiVersion)
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("the stage was written for kernel ABI {}, this build has {}; dump it again", abi, kAbiVersion)};
  if (Result<void> finished = finishSpec(*formula, header.spec); !finished)
    return finished.error();
  return header;
}

std::string editedMark(Stage stage) { return fmt::format("{}{}\n", kEditedKey, name(stage)); }

ImageMetadata metadataOf(const KernelHeader &header, std::string_view buildId) {
  const KernelSpec &spec = header.spec;
  ImageMetadata meta;
  meta.abiVersion = kAbiVersion;
  meta.buildId = buildId;
  meta.kind = spec.target.kind == TargetDesc::Kind::Nvptx ? ImageKind::Ptx
              : spec.target.isAArch64()                   ? ImageKind::CpuAArch64
                                                          : ImageKind::CpuX86_64;
  meta.pipeline = name(spec.backend);
  meta.triple = spec.target.triple;
  meta.cpu = spec.target.cpu;
  if (spec.target.kind == TargetDesc::Kind::Cpu)
    meta.features = requiredFeatures(spec.target);
  meta.entry = kEntryName;
  meta.qType = spec.qType;
  meta.kvType = spec.kvType;
  meta.outType = spec.outType;
  meta.D = spec.D;
  meta.Dv = spec.Dv;
  meta.contiguous = spec.contiguous;
  meta.paged = spec.paged;
  meta.checkedIndices = spec.checkedIndices;
  meta.narrowIndices = spec.narrowIndices;
  meta.sinks = spec.sinks;
  meta.hasMask = header.hasMask;
  meta.hasClosedForm = header.hasClosedForm;
  meta.tileRows = spec.config.tileRows;
  meta.tileCols = spec.config.tileCols;
  meta.workspaceBytes = header.workspaceBytes;
  meta.stateRowBytes = header.stateRowBytes;
  meta.rounds = header.rounds;
  meta.callsFunctions = header.callsFunctions;
  meta.threadsPerBlock = header.threadsPerBlock;
  meta.sharedBytes = header.sharedBytes;
  meta.qBoxRows = header.qBoxRows;
  meta.kvBoxRows = header.kvBoxRows;
  for (const expr::CaptureDecl &capture : spec.formula.captures)
    meta.captures.push_back({capture.name, capture.dtype, capture.rank});
  for (const expr::ScalarDecl &scalar : spec.formula.scalars)
    meta.scalars.push_back({scalar.name, scalar.kind == expr::Kind::Float});
  meta.problemText = print(spec);
  return meta;
}

} // namespace attnjit::compiler
