// Sizes of memory in the audit's words.
#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

namespace vmferry {

/// "112 MiB", or "114696 KiB" where it is no whole MiB.
[[nodiscard]] inline std::string size_text(std::uint64_t bytes) {
    constexpr std::uint64_t kib = 1u << 10, mib = 1u << 20;
    return bytes % mib == 0 ? fmt::format("{} MiB", bytes / mib) : fmt::format("{} KiB", bytes / kib);
}

}  // namespace vmferry
