// The wgmma schedule of sm_90a: a persistent thread block per multiprocessor, a producer warpgroup and two or three consumer warpgroups.
//
//   producer   tile after tile: Q, then K and V block by block of the plan, by tensor copies into rings of buffers (WgmmaProducer.cpp);
//              where those cannot reach them (thread_copies) a tile alone, by cp.async of all of its threads
//   consumers  64 rows each: S = Q K^T, formulas, online softmax, O += P V, the end (WgmmaConsumer.cpp)
//
// Scores, probabilities and accumulators live in registers throughout, in the fragments of mma.sync, so that formulas and softmax are those
// of that schedule (FragmentRows.h). The producer gives registers up for the consumers.
#include "FormulaMath.h"
#include "GpuKernelFunction.h"
#include "WgmmaShape.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

RingUse::RingUse(const Emitter &emit, const WgmmaKernel &kernel, const BufferRing &ring, Value n) : ring(ring) {
  auto at = [&](int64_t offset, Value index, int64_t size) {
    Value first = emit.add(kernel.shared, offset);
    return index ? emit.add(first, emit.mul(index, size)) : first;
  };
  Value one = emit.constInt(emit.i32(), 1), index;
  if (ring.count > 1)
    index = emit.bitAnd(n, emit.constInt(emit.i32(), ring.count - 1));
  buffer = at(ring.data, index, ring.sizeBytes);
  full = at(ring.full, index, BufferRing::kBarrierBytes);
  empty = at(ring.empty, index, BufferRing::kBarrierBytes);
  slot = at(ring.slots, index, BufferRing::kSlotBytes);
  int64_t turns = llvm::Log2_64(ring.count);
  parity = emit.bitAnd(turns ? emit.shrU(n, turns) : n, one);
}

void emitWriteSlot(const Emitter &emit, Value slot, ArrayRef<Value> fields) {
  Value all = emit.make<LLVM::PoisonOp>(emit.vec(4, emit.i32()));
  for (auto [i, field] : llvm::enumerate(fields))
    all = emit.make<LLVM::InsertElementOp>(all, field, emit.constInt(emit.i32(), int64_t(i)));
  emit.make<LLVM::StoreOp>(all, emitSharedPointer(emit, slot), /*alignment=*/16);
}

Emitter::Values emitReadSlot(const Emitter &emit, Value slot) {
  Value all = emit.make<LLVM::LoadOp>(emit.vec(4, emit.i32()), emitSharedPointer(emit, slot), /*alignment=*/16, /*isVolatile=*/true);
  Emitter::Values fields;
  for (int64_t i = 0; i < 4; ++i)
    fields.push_back(emit.make<LLVM::ExtractElementOp>(all, emit.constInt(emit.i32(), i)));
  return fields;
}

/// One thread sets the barriers up.
static void initBarriers(const Emitter &emit, const WgmmaKernel &kernel) {
  emit.ifThen(emit.cmp(Emitter::CmpI::eq, kernel.position.thread, emit.constInt(emit.i32(), 0)), [&] {
    for (const BufferRing *ring : {&kernel.shape.qRing, &kernel.shape.kRing, &kernel.shape.vRing})
      for (int64_t i = 0; i < ring->count; ++i) {
        emitBarrierInit(emit, emit.add(kernel.shared, ring->full + i * BufferRing::kBarrierBytes), kernel.shape.producerArrivals());
        emitBarrierInit(emit, emit.add(kernel.shared, ring->empty + i * BufferRing::kBarrierBytes), kernel.shape.consumerThreads());
      }
    emitBarrierInitFence(emit);
  });
  emit.make<NVVM::Barrier0Op>();
}

LogicalResult lowerWgmma(const TileProgram &program, const GpuTarget &target, WgmmaAttr choices) {
  if (std::optional<std::string> refusal = wgmmaRefusal(program, target, choices))
    return program.kernel->emitOpError("cannot be scheduled for wgmma: ") << *refusal;
  specializeFormulas(program);

  WgmmaShape shape = WgmmaShape::of(program, choices);
  Location loc = program.kernel->getLoc();
  OpBuilder builder(program.kernel);
  GpuLaunch launch{shape.threads(), shape.sharedBytes(), WgmmaShape::kAlignment};
  launch.handsRegistersOver = true;
  if (!choices.getThreadCopies())
    launch.qBoxRows = shape.rows, launch.kvBoxRows = shape.cols;
  GpuKernelFunction function = createGpuKernel(builder, program, launch);
  Emitter emit(builder, loc);
  auto address = [&](Value map) -> Value { return map ? emit.make<LLVM::PtrToIntOp>(emit.i64(), map) : Value(); };
  Value shared = emit.alignedTo(emitSharedAddress(emit, function.shared), WgmmaShape::kAlignment);
  WgmmaKernel kernel{program,
                     shape,
                     function.args,
                     address(function.qMap),
                     address(function.kMap),
                     address(function.vMap),
                     function.counters,
                     shared,
                     ThreadPosition::emit(emit)};
  initBarriers(emit, kernel);
  Value isProducer = emit.cmp(Emitter::CmpI::ult, kernel.position.thread, emit.constInt(emit.i32(), WgmmaShape::kWarpgroupThreads));
  emit.ifElse(isProducer, [&] { emitWgmmaProducer(builder, loc, kernel); }, [&] { emitWgmmaConsumer(builder, loc, kernel); });
  finishGpuKernel(function, program);
  return success();
}

} // namespace attnjit::tile
