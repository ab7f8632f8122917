// JSON as QEMU writes it: objects keep their members in order and keep duplicate keys.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/error.hpp"

namespace vmferry::qemu {

inline constexpr std::size_t max_json_values = 500'000;
inline constexpr std::size_t max_json_depth = 64;
inline constexpr std::size_t max_json_text = 255;  ///< bytes of a string or key: QEMU's names have u8 lengths

struct JsonValue {
    enum class Kind : std::uint8_t { null, boolean, number, text, array, object, other };
    Kind kind = Kind::null;
    std::uint64_t number = 0;  ///< also 0 or 1 of a boolean
    std::string text;
    struct Member;
    std::vector<JsonValue> items;
    std::vector<Member> members;

    /// The first member of this name; nullptr if there is none or this is no object.
    [[nodiscard]] const JsonValue* find(std::string_view key) const;
    [[nodiscard]] std::size_t count(std::string_view key) const;
};

struct JsonValue::Member {
    std::string key;
    JsonValue value;
};

/// `offset` = stream offset of the text. Floating-point and negative numbers become Kind::other.
[[nodiscard]] Result<JsonValue> parse_json(std::string_view text, std::uint64_t offset);

}  // namespace vmferry::qemu
