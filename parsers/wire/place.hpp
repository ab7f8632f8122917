// Where a record lies in the stream, so that a check of one of its fields stays one line.
#pragma once

#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "parsers/wire/error.hpp"

namespace vmferry {

struct Place {
    const char* format;    ///< "libxc"
    std::string record;    ///< "PAGE_DATA"
    std::uint64_t offset;  ///< in the whole stream, of the byte that `at` counts from

    /// The error of one field, `at` bytes into the record.
    [[nodiscard]] std::unexpected<Error> wrong(std::string field, std::uint64_t at, std::string found,
                                               std::string expected, std::string hint = {}) const {
        return std::unexpected(Error{ErrorKind::stream, format, record, std::move(field), offset + at,
                                     std::move(found), std::move(expected), std::move(hint)});
    }
    /// For a body (`offset` is its first byte) whose u32 length stands right before it.
    [[nodiscard]] std::unexpected<Error> wrong_length(std::size_t found, std::string expected) const {
        return std::unexpected(Error{ErrorKind::stream,
                                     format,
                                     record,
                                     "length",
                                     offset - 4,
                                     std::to_string(found),
                                     std::move(expected),
                                     {}});
    }
};

[[nodiscard]] inline std::string hex(std::uint64_t value) {
    return fmt::format("{:#x}", value);
}

}  // namespace vmferry
