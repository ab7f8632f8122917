// What the tests of the QEMU parsers share: a small stream made with the writers, recorded ones, and ways to
// read and to compare.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "parsers/qemu/snapshot.hpp"
#include "parsers/wire/bytes.hpp"

namespace vmferry::qemu::test {

/// A file of captures/, decompressed. Throws if it is not there.
[[nodiscard]] Buffer load_capture(const std::string& name);
/// The streams in captures/ that are to be read, and those that are to be refused.
[[nodiscard]] std::vector<std::string> good_captures();

/// A stream and where its parts begin.
struct BuiltStream {
    Buffer bytes;
    std::map<std::string, std::size_t> at;
};

/// A whole migration of an imaginary machine with two blocks and three device sections: every kind of item
/// that the reader accepts, in about 20 kB. Parts: "header", "configuration", "uuid", "OPEN_RETURN_PATH",
/// "PING", "START", "MEM_SIZE", "block", "START EOS", "START footer", "PART", "page" (named), "continued",
/// "zero", "PART EOS", "PART 2", "END", "END EOS", "SWITCHOVER_START", "timer", "toy", "toy payload",
/// "toy subsection", "toy footer", "slirp", "EOF", "VMDESCRIPTION", "json".
[[nodiscard]] BuiltStream build_stream();
/// The description in it.
[[nodiscard]] std::string build_description();

/// Reads a stream, giving the reader `chunk(n)` further bytes at a time (n = bytes at hand). Every contract
/// of parsers/wire/pull.hpp is checked on the way.
struct ReadBack {
    Buffer rewritten;  ///< all events through the writer
    std::size_t pages = 0;
    std::size_t zero_pages = 0;
    std::size_t largest_need = 0;  ///< before the device state
    std::optional<Error> error;    ///< what the reader refused, or what was truncated
};
[[nodiscard]] ReadBack read_all(Bytes bytes, const std::function<std::size_t(std::size_t)>& chunk = {},
                                bool trim = false);
/// A recorded stream with one in 64 of those pages that do not name their block.
[[nodiscard]] Buffer load_trimmed(const std::string& name);

/// Empty if equal in every name, type, count and byte; otherwise the first place that differs. `renamed`
/// lists field names of `a` that may have another name or type in `b`.
[[nodiscard]] std::string difference(const Struct& a, const Struct& b,
                                     const std::vector<std::string>& renamed = {},
                                     const std::string& path = {});

}  // namespace vmferry::qemu::test
