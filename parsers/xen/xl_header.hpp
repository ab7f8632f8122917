// xl's own header, before everything else in a migration and in a save file.
//
//      0  32  magic               "Xen saved domain, xl format\n \0 \r"
//     32   4  byteorder           0x01020304 in the sender's order
//     36   4  mandatory_flags     bit 0: config is JSON, bit 1: libxl stream v2 follows
//     40   4  optional_flags
//     44   4  optional_data_len
//     48   4  config length       includes one trailing NUL
//     52      config              JSON; then further optional data, ignored by xl
#pragma once

#include <cstdint>
#include <string_view>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "parsers/xen/records.hpp"

namespace vmferry::xen {

using namespace std::string_view_literals;
inline constexpr auto xl_magic = "Xen saved domain, xl format\n \0 \r"sv;
static_assert(xl_magic.size() == 32);

inline constexpr std::size_t xl_fixed_size = 48;
inline constexpr std::size_t xl_config_at = xl_fixed_size + 4;
inline constexpr std::uint32_t xl_flag_json = 1, xl_flag_stream_v2 = 2;

/// Checks the fixed part and returns the size of the whole header with its optional data.
/// Precondition: in.size() >= xl_fixed_size.
[[nodiscard]] Result<std::size_t> xl_header_size(Bytes in, std::uint64_t offset);

/// The header, whose fixed part has been checked. Precondition: in.size() == xl_header_size(in).
[[nodiscard]] Result<XlHeader> read_xl_header(Bytes in, std::uint64_t offset);

}  // namespace vmferry::xen
