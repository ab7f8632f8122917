// The one error type. Bad input is a value, never an exception and never an assert.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace vmferry {

/// What kind of failure this is; decides the exit code (README, "exit codes").
enum class ErrorKind {
    stream,       ///< the bytes are wrong: truncated, corrupt, hostile, another version
    refused,      ///< the bytes are right, but this machine cannot or may not be carried
    usage,        ///< the operator asked for something that makes no sense
    environment,  ///< a component outside failed: QEMU, disk, peer, time-out
    in_doubt,     ///< it is not known which side owns the guest
};

/// For stream errors all fields name the place: "libxc", "PAGE_DATA", "count", offset in the whole stream.
/// For the others `format` names the component and `record` what was being done or awaited.
struct Error {
    ErrorKind kind = ErrorKind::stream;
    std::string format = {};
    std::string record = {};
    std::string field = {};
    std::uint64_t offset = 0;
    std::string found = {};
    std::string expected = {};
    std::string hint = {};  ///< what the operator can do about it; may be empty

    /// One line for people: «libxc PAGE_DATA.count at offset 0x1234: found 0, expected at least 1».
    [[nodiscard]] std::string text() const;
};

template <typename T>
using Result = std::expected<T, Error>;

/// Shorthands, so that a check stays one line.
[[nodiscard]] std::unexpected<Error> stream_error(std::string format, std::string record, std::string field,
                                                  std::uint64_t offset, std::string found,
                                                  std::string expected);
[[nodiscard]] std::unexpected<Error> environment_error(std::string component, std::string doing,
                                                       std::string found, std::string expected = {});

}  // namespace vmferry

// Leaves the function with the error of a Result<…>, if it has one.
#define VMFERRY_TRY(expression)                                            \
    do {                                                                   \
        if (auto vmferry_try_result = (expression); !vmferry_try_result)   \
            return std::unexpected(std::move(vmferry_try_result).error()); \
    } while (false)

#define VMFERRY_CONCAT2(a, b) a##b
#define VMFERRY_CONCAT(a, b) VMFERRY_CONCAT2(a, b)
// VMFERRY_ASSIGN(auto header, read_header(…)): declares the value, or leaves with the error.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
#define VMFERRY_ASSIGN(declaration, expression)                                               \
    auto VMFERRY_CONCAT(vmferry_assign_, __LINE__) = (expression);                            \
    if (!VMFERRY_CONCAT(vmferry_assign_, __LINE__))                                           \
        return std::unexpected(std::move(VMFERRY_CONCAT(vmferry_assign_, __LINE__)).error()); \
    declaration = std::move(*VMFERRY_CONCAT(vmferry_assign_, __LINE__))
// NOLINTEND(bugprone-macro-parentheses)
