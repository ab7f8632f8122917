// What two QEMUs can agree on and we cannot carry: recognised by its trace in the stream and refused, with
// the capability to switch off at the source.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "parsers/wire/error.hpp"

namespace vmferry::qemu {

/// ErrorKind::refused; the hint is made from `capability` unless one is given.
[[nodiscard]] std::unexpected<Error> refuse(std::string_view record, std::string_view field,
                                            std::uint64_t offset, std::string found,
                                            std::string_view capability, std::string hint = {});
[[nodiscard]] std::unexpected<Error> refuse_live_section(std::string_view idstr, std::uint64_t offset);
/// An error for every command that an ordinary precopy stream does not have, or whose length is wrong.
[[nodiscard]] Result<void> check_command(std::uint16_t command, std::uint16_t length, std::uint64_t offset);
/// An error for flags of a ram record that belong to a capability.
[[nodiscard]] Result<void> check_page_flags(std::uint64_t flags, std::uint64_t offset);

}  // namespace vmferry::qemu
