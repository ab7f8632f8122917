#include "parsers/wire/error.hpp"

namespace vmferry {

std::string Error::text() const {
    std::string place = format;
    if (!record.empty()) place += (place.empty() ? "" : " ") + record;
    if (!field.empty()) place += (place.empty() ? "" : ".") + field;
    std::string line = place;
    if (kind == ErrorKind::stream) line += fmt::format(" at offset {:#x}", offset);
    line += ": ";
    if (!found.empty()) line += kind == ErrorKind::stream ? "found " + found : found;
    if (!expected.empty()) line += (found.empty() ? "expected " : ", expected ") + expected;
    if (!hint.empty()) line += " (" + hint + ")";
    return line;
}

std::unexpected<Error> stream_error(std::string format, std::string record, std::string field,
                                    std::uint64_t offset, std::string found, std::string expected) {
    return std::unexpected(Error{ErrorKind::stream, std::move(format), std::move(record), std::move(field),
                                 offset, std::move(found), std::move(expected)});
}

std::unexpected<Error> environment_error(std::string component, std::string doing, std::string found,
                                         std::string expected) {
    return std::unexpected(Error{ErrorKind::environment,
                                 std::move(component),
                                 std::move(doing),
                                 {},
                                 0,
                                 std::move(found),
                                 std::move(expected)});
}

}  // namespace vmferry
