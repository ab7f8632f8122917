// Device sections decoded with the description that follows them.
//
//     04 · be32 id · u8 n · idstr · be32 instance · be32 version · payload · 7e · be32 id     per section
//     00                                                                                      EOF
//
// Sections have no length; the description's sizes are what was really written, so they must account for
// every byte from the first section to EOF.
#pragma once

#include <cstdint>
#include <string_view>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry::qemu {

inline constexpr std::size_t max_description = 16u << 20;  ///< bytes of JSON
inline constexpr std::size_t max_tree_nodes = 500'000;     ///< fields and structures in all sections together

/// `state`: from the first section's type byte up to and without the EOF byte. `offset` = stream offset of
/// state[0], `json_offset` = of the text.
[[nodiscard]] Result<DeviceTree> decode_device_state(Bytes state, std::uint64_t offset, std::string_view json,
                                                     std::uint64_t json_offset);

}  // namespace vmferry::qemu
