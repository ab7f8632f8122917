// What the tests of the Xen parsers share: streams made with the writers, recorded ones, and ways to read
// them.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/xen/hvm_context.hpp"
#include "parsers/xen/stream_reader.hpp"

namespace vmferry::xen::test {

/// A stream and where its parts begin.
struct BuiltStream {
    Buffer bytes;
    std::map<std::string, std::size_t> at;
};

/// A whole migration with every record that a reader accepts, "go" behind it. In version 2 without the
/// records of version 3. Parts: "xl", "libxl", "LIBXC_CONTEXT", "image", "domain", "X86_CPUID_POLICY",
/// "X86_MSR_POLICY", "STATIC_DATA_END", "optional", "PAGE_DATA" (mixed), "holes", "all data", "VERIFY",
/// "X86_TSC_INFO", "HVM_CONTEXT", "HVM_PARAMS", "libxc END", "EMULATOR_XENSTORE_DATA", "EMULATOR_CONTEXT",
/// "END", "go".
struct StreamOptions {
    unsigned version = 3;
    bool xenstore_data = true;  ///< verify-stream-v2 of 4.17 cannot read it
    bool optional = true;       ///< nor an optional record
};
[[nodiscard]] BuiltStream build_stream(const StreamOptions& options = {});

/// HVM context of two vCPUs with a record of every type, in bodies that the reader accepts.
[[nodiscard]] HvmContext build_context();

/// A file of captures/, decompressed.
[[nodiscard]] Buffer load_capture(const std::string& name);

/// Reads a stream from `start`, giving the reader `chunk(n)` further bytes at a time (n = bytes at hand).
/// Every contract of parsers/wire/pull.hpp is checked on the way.
struct ReadBack {
    std::vector<std::string> records;  ///< names in order; runs of pages and pieces of a record count once
    Buffer rewritten;                  ///< all records through the writer
    std::size_t consumed = 0;
    std::vector<Error> errors;  ///< at most one: what the reader refused, or what was truncated
};
[[nodiscard]] ReadBack read_all(Bytes bytes, const std::function<std::size_t(std::size_t)>& chunk = {},
                                StreamReader::Start start = StreamReader::Start::xl_header);

}  // namespace vmferry::xen::test
