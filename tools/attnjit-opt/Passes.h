// THE place where attnjit-opt learns of passes, ours and upstream's.
#pragma once

namespace attnjit {

void registerPasses();

} // namespace attnjit
