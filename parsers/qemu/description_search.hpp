// Finds the end of the device state in a stream that is still arriving.
//
//     FULL sections … · 00 EOF · 06 · be32 length · { JSON }
//
// Sections have no length and 00 06 may occur in payload. A place is the end when what follows the 06 is a
// complete description that accounts for every byte before it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry::qemu {

class DescriptionSearch {
  public:
    struct Found {
        std::size_t consumed = 0;
        DeviceTree tree;
        Bytes raw;
        std::string_view description;
    };

    /// `in` begins with the first FULL section and grows from call to call. nullopt: more is needed.
    Result<std::optional<Found>> next(Bytes in, std::uint64_t offset);
    /// The stream ended without a description that fits.
    [[nodiscard]] Error missing(Bytes in, std::uint64_t offset) const;

  private:
    Result<std::optional<Found>> attempt(Bytes in, std::uint64_t offset, std::size_t eof);

    std::size_t scanned_ = 0;           ///< no candidate starts before this place, but those in pending_
    std::vector<std::size_t> pending_;  ///< EOF places whose description has not arrived whole
    std::size_t attempts_ = 0;
    std::optional<Error> why_not_;  ///< of the last complete candidate
};

}  // namespace vmferry::qemu
