#include "Target/Cpu/ImageLinker.h"

#include "llvm/ExecutionEngine/JITLink/JITLink.h"
#include "llvm/ExecutionEngine/JITLink/JITLinkMemoryManager.h"
#include "llvm/ExecutionEngine/JITLink/aarch64.h"
#include "llvm/ExecutionEngine/JITLink/x86_64.h"
#include "llvm/Support/MathExtras.h"

#include <optional>

using namespace llvm;
using namespace llvm::jitlink;

namespace attnjit::target {

namespace {

// Any address does, because only differences of addresses get into the bytes; not 0, so that a null address stays recognisable.
constexpr uint64_t kBase = 1 << 20;
constexpr uint64_t kPageBytes = 4096;

Error failure(const Twine &message) { return createStringError(inconvertibleErrorCode(), message); }

/// "Allocates" the segments one after another in a byte vector. They are never executed here, so finalizing does nothing.
class ImageMemory final : public JITLinkMemoryManager {
public:
  std::vector<std::byte> bytes;
  uint64_t alignment = 1;

  void allocate(const JITLinkDylib *, LinkGraph &graph, OnAllocatedFunction onAllocated) override {
    BasicLayout layout(graph);
    uint64_t size = 0;
    for (auto &[group, segment] : layout.segments()) {
      if (segment.Alignment.value() > kPageBytes)
        return onAllocated(failure("a section wants an alignment of more than a page"));
      size = alignTo(size, segment.Alignment);
      alignment = std::max(alignment, segment.Alignment.value());
      segment.Addr = orc::ExecutorAddr(kBase + size);
      size += segment.ContentSize + segment.ZeroFillSize;
    }
    bytes.assign(size, std::byte{0});
    for (auto &[group, segment] : layout.segments())
      segment.WorkingMem = reinterpret_cast<char *>(bytes.data()) + (segment.Addr.getValue() - kBase);
    if (Error error = layout.apply())
      return onAllocated(std::move(error));
    onAllocated(std::make_unique<Placed>());
  }

  void deallocate(std::vector<FinalizedAlloc> allocs, OnDeallocatedFunction onDeallocated) override {
    for (FinalizedAlloc &alloc : allocs)
      alloc.release();
    onDeallocated(Error::success());
  }

private:
  struct Placed final : InFlightAlloc {
    void abandon(OnAbandonedFunction onAbandoned) override { onAbandoned(Error::success()); }
    void finalize(OnFinalizedFunction onFinalized) override { onFinalized(FinalizedAlloc(orc::ExecutorAddr(kBase))); }
  };
};

/// What linkImage and the context that JITLink owns share.
struct Link {
  StringRef entry;
  ArrayRef<LinkedPhase> phases;
  ImageMemory memory;
  std::optional<uint64_t> entryAddress;
  Error error = Error::success();
};

/// Relocations whose fixed-up bits do not depend on where the image is mapped. On AArch64 a place is named by the distance of two pages and
/// an offset in one: images begin on a page.
bool isRelativeOnAArch64(Edge::Kind kind) {
  switch (kind) {
  case Edge::KeepAlive:
  case aarch64::Delta64:
  case aarch64::Delta32:
  case aarch64::NegDelta64:
  case aarch64::NegDelta32:
  case aarch64::Branch26PCRel:
  case aarch64::TestAndBranch14PCRel:
  case aarch64::CondBranch19PCRel:
  case aarch64::LDRLiteral19:
  case aarch64::ADRLiteral21:
  case aarch64::Page21:
  case aarch64::PageOffset12:
    return true;
  default:
    return false;
  }
}

bool isRelativeOnX86(Edge::Kind kind) {
  switch (kind) {
  case Edge::KeepAlive:
  case x86_64::Delta64:
  case x86_64::Delta32:
  case x86_64::Delta16:
  case x86_64::Delta8:
  case x86_64::NegDelta64:
  case x86_64::NegDelta32:
  case x86_64::BranchPCRel32:
  case x86_64::PCRel32:
    return true;
  default:
    return false;
  }
}

std::string nameOf(const Symbol &symbol) { return symbol.hasName() ? ("'" + *symbol.getName() + "'").str() : "a local label"; }

/// Runs on what the entry reaches, before JITLink would build GOT entries and stubs, which hold absolute addresses.
Error checkSelfContained(LinkGraph &graph) {
  const auto isRelative = graph.getTargetTriple().isAArch64() ? isRelativeOnAArch64 : isRelativeOnX86;
  for (Section &section : graph.sections()) {
    if (section.blocks_size() == 0 || section.getMemLifetime() == orc::MemLifetime::NoAlloc)
      continue;
    if ((section.getMemProt() & orc::MemProt::Write) == orc::MemProt::Write)
      return failure("the kernel has writable data in section '" + section.getName() + "'; kernels keep their state in the workspace");
    for (Block *block : section.blocks())
      for (const Edge &edge : block->edges()) {
        const Symbol &target = edge.getTarget();
        if (!target.isDefined())
          return failure("the kernel refers to the external symbol " + nameOf(target) +
                         "; kernels may call only through KernelArgs::functions");
        if (!isRelative(edge.getKind()))
          return failure("section '" + section.getName() + "' has a relocation (" + graph.getEdgeKindName(edge.getKind()) + ") against " +
                         nameOf(target) + " which holds an absolute address; kernels are position independent");
      }
  }
  return Error::success();
}

class ImageContext final : public JITLinkContext {
public:
  explicit ImageContext(Link &link) : JITLinkContext(nullptr), link(link) {}

  JITLinkMemoryManager &getMemoryManager() override { return link.memory; }

  void notifyFailed(Error error) override { link.error = joinErrors(std::move(link.error), std::move(error)); }

  void lookup(const LookupMap &symbols, std::unique_ptr<JITLinkAsyncLookupContinuation> continuation) override {
    // checkSelfContained has refused every external symbol that is reached; weak ones too.
    continuation->run(failure("the kernel refers to an external symbol"));
  }

  Error notifyResolved(LinkGraph &graph) override {
    if (Symbol *symbol = findEntry(graph))
      link.entryAddress = symbol->getAddress().getValue();
    return Error::success();
  }

  void notifyFinalized(JITLinkMemoryManager::FinalizedAlloc alloc) override { alloc.release(); }

  LinkGraphPassFunction getMarkLivePass(const Triple &) const override {
    return [this](LinkGraph &graph) -> Error {
      Symbol *symbol = findEntry(graph);
      if (!symbol)
        return failure("the object does not define the entry point '" + link.entry + "'");
      symbol->setLive(true);
      return Error::success();
    };
  }

  Error modifyPassConfig(LinkGraph &, PassConfiguration &passes) override {
    passes.PrePrunePasses.insert(passes.PrePrunePasses.begin(), [this](LinkGraph &graph) { return placePhases(graph); });
    passes.PostPrunePasses.insert(passes.PostPrunePasses.begin(), checkSelfContained);
    return Error::success();
  }

private:
  /// Defines the symbols that the entry calls phases by.
  Error placePhases(LinkGraph &graph) const {
    if (link.phases.empty())
      return Error::success();
    Section &section = graph.createSection("phases", orc::MemProt::Read | orc::MemProt::Exec);
    uint64_t address = kBase; // blocks of a section are laid out by their addresses
    for (const LinkedPhase &phase : link.phases) {
      const auto called = find_if(graph.external_symbols(), [&](Symbol *symbol) { return *symbol->getName() == phase.name; });
      if (called == graph.external_symbols().end())
        continue;
      const LinkedCode &code = *phase.code;
      const ArrayRef<char> bytes(reinterpret_cast<const char *>(code.bytes.data()), code.bytes.size());
      Block &block = graph.createContentBlock(section, bytes, orc::ExecutorAddr(address), code.alignment, 0);
      graph.makeDefined(**called, block, code.entryOffset, 0, Linkage::Strong, Scope::Local, /*IsLive=*/false);
      address = alignTo(address + bytes.size(), kPageBytes);
    }
    return Error::success();
  }

  Symbol *findEntry(LinkGraph &graph) const {
    for (Symbol *symbol : graph.defined_symbols())
      if (symbol->hasName() && *symbol->getName() == link.entry)
        return symbol;
    return nullptr;
  }

  Link &link;
};

} // namespace

Expected<LinkedCode> linkImage(StringRef object, StringRef entry, ArrayRef<LinkedPhase> phases) {
  auto graph = createLinkGraphFromObject(MemoryBufferRef(object, "kernel"), std::make_shared<orc::SymbolStringPool>());
  if (!graph)
    return graph.takeError();
  const Triple &triple = (*graph)->getTargetTriple();
  if (!triple.isX86_64() && !triple.isAArch64())
    return failure("the object is neither for x86-64 nor for AArch64 but for " + triple.str());
  Link link{entry, phases, {}, {}};
  jitlink::link(std::move(*graph), std::make_unique<ImageContext>(link));
  if (link.error)
    return std::move(link.error);
  if (!link.entryAddress)
    return failure("linking ended without an entry point");
  return LinkedCode{std::move(link.memory.bytes), *link.entryAddress - kBase, link.memory.alignment};
}

} // namespace attnjit::target
