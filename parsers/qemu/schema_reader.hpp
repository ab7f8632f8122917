// Cuts one section's payload with a schema.
#pragma once

#include <cstdint>
#include <string>

#include "parsers/qemu/device_tree.hpp"
#include "parsers/qemu/schema.hpp"
#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry::qemu::schema {

/// What is not in the stream and has to be found by trying.
struct Guess {
    Layout layout = 0;
    std::uint32_t open_count = 0;  ///< elements of the fields with `count_open`
};

struct Cut {
    Struct root;
    std::size_t end = 0;           ///< position behind the payload
    bool open_count_used = false;  ///< the guess at the open count made a difference
};

/// Reads the payload that starts at `blob[at]` of a section with this spec and the version in its head.
/// `base` = stream offset of blob[0]; `record` names the section in errors. The errors name field and offset.
[[nodiscard]] Result<Cut> cut_payload(const Spec& spec, std::uint32_t version, Guess guess, Bytes blob,
                                      std::size_t at, std::uint64_t base, const std::string& record);

}  // namespace vmferry::qemu::schema
