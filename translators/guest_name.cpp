#include "translators/guest_name.hpp"

namespace vmferry {

std::string plain_name(std::string_view name) {
    std::string plain;
    for (const char c : name) {
        const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          c == '.' || c == '_' || c == '-';
        plain += good ? c : '_';
    }
    if (plain.starts_with('-') || plain.starts_with('.')) plain.front() = '_';
    return plain;
}

}  // namespace vmferry
