// Text that may come from a stream, made safe for a terminal.
#pragma once

#include <string>
#include <string_view>

namespace vmferry::cli {

/// With "\xNN" instead of every control character (C0, DEL, C1 in UTF-8), so that a stream cannot steer the
/// terminal of whoever looks at it.
[[nodiscard]] inline std::string printable(std::string_view text, bool keep_newlines = false) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string safe;
    safe.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); ++at) {
        const auto byte = static_cast<unsigned char>(text[at]);
        const auto before = at > 0 ? static_cast<unsigned char>(text[at - 1]) : 0U;
        const bool c1 = before == 0xC2 && byte >= 0x80 && byte < 0xA0;
        if ((byte >= 0x20 && byte != 0x7F && !c1) || (keep_newlines && byte == '\n')) {
            safe += text[at];
            continue;
        }
        if (c1) safe.pop_back();
        safe += "\\x";
        safe += digits[byte >> 4U];
        safe += digits[byte & 0xFU];
    }
    return safe;
}

}  // namespace vmferry::cli
