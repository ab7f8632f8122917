#include "translators/shell_quote.hpp"

#include <algorithm>
#include <string_view>

namespace vmferry {

namespace {

bool is_plain(char c) {
    constexpr std::string_view others = "_-+=.,:/@%";
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           others.find(c) != std::string_view::npos;
}

void append_quoted(std::string& out, std::string_view word) {
    // A first word with '=' would be an assignment.
    const bool assigns = out.empty() && word.contains('=');
    if (!word.empty() && !assigns && std::ranges::all_of(word, is_plain)) {
        out += word;
        return;
    }
    out += '\'';
    for (const char c : word) {
        if (c == '\'')
            out += "'\\''";  // leave the quotes, a literal quote, enter them again
        else
            out += c;
    }
    out += '\'';
}

}  // namespace

std::string shell_quote(std::span<const std::string> words) {
    std::string line;
    for (const auto& word : words) {
        if (!line.empty()) line += ' ';
        append_quoted(line, word);
    }
    return line;
}

}  // namespace vmferry
