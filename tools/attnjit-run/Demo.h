// The table that a visitor sees first: several real attention variants, compiled and run on this machine.
#pragma once

#include "attnjit/Engine.h"

namespace attnjit::tools {

/// Runs the variants one after the other and prints the table and the pictures of their masks. Answers an exit status.
int runDemo(const Engine &engine, int threads);

} // namespace attnjit::tools
