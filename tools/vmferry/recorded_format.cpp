#include "tools/vmferry/recorded_format.hpp"

#include <fmt/format.h>

#include "tools/vmferry/report.hpp"

namespace vmferry::cli {

namespace {

Result<void> check(const InputFile& file, const std::string& path, StreamFormat wanted, std::string expected,
                   const char* hint) {
    if (file.format() == wanted) return {};
    if (file.format() == StreamFormat::unknown)
        return stream_error("input", "file", "magic", 0, path + " is no migration stream",
                            std::move(expected));
    auto error = usage_error(path, fmt::format("a stream of the kind {}", stream_format_name(file.format())),
                             std::move(expected));
    error.hint = hint;
    return std::unexpected(std::move(error));
}

}  // namespace

Result<void> check_xen_stream(const InputFile& file, const std::string& path) {
    return check(file, path, StreamFormat::xen_xl,
                 "what `xl migrate` or `xl save` writes, with the domain's configuration, plain or zstd",
                 "what QEMU wrote goes to Xen, with --to xl");
}

Result<void> check_qemu_stream(const InputFile& file, const std::string& path) {
    return check(file, path, StreamFormat::qemu, "what QEMU's migrate writes, plain or zstd",
                 "what xl wrote goes to QEMU, not with --to xl");
}

}  // namespace vmferry::cli
