// A command line for people to copy.
#pragma once

#include <span>
#include <string>

namespace vmferry {

/// The words joined by spaces, each quoted for a POSIX shell where it needs to be. Control characters are
/// written as they are inside single quotes, so that the shell gets back exactly the same words.
[[nodiscard]] std::string shell_quote(std::span<const std::string> words);

}  // namespace vmferry
