// Work that may end its process: LLVM answers some texts by exit() or abort(), and a tool must say so instead of vanishing.
#pragma once

#include <functional>
#include <string>

namespace attnjit::tools {

/// Runs `work` in a child process and answers its result. When the child ends in any other way, prints a message about `what` and answers
/// 1: the text was the user's. Call it before any thread exists.
int runInChild(const std::string &what, const std::function<int()> &work);

} // namespace attnjit::tools
