// The text of an error that may not be there, for the messages of assertions: doctest writes a message also
// for an assertion that holds, when it is asked to show them all (-s), or when an exception passes it.
#pragma once

#include <optional>
#include <string>

#include "parsers/wire/error.hpp"

namespace vmferry::test {

template <typename T>
[[nodiscard]] std::string error_text(const Result<T>& result) {
    return result ? std::string() : result.error().text();
}

[[nodiscard]] inline std::string error_text(const std::optional<Error>& error) {
    return error ? error->text() : std::string();
}

}  // namespace vmferry::test
