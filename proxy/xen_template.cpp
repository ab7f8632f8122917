#include "proxy/xen_template.hpp"

#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>
#include <variant>

#include <fmt/format.h>
#include <zstd.h>

#include "parsers/xen/stream_reader.hpp"
#include "parsers/xen/stream_writer.hpp"
#include "proxy/collect_source.hpp"
#include "proxy/input_buffer.hpp"
#include "proxy/input_file.hpp"

namespace vmferry {

namespace {

Error wrong_kind(const std::string& path, StreamFormat format) {
    Error error;
    error.kind = ErrorKind::usage;
    error.format = path;
    error.found = format == StreamFormat::unknown
                      ? std::string("no migration stream")
                      : fmt::format("a stream of the kind {}", stream_format_name(format));
    error.expected = "what `xl save` or `vmferry template --xen` writes, plain or zstd";
    return error;
}

bool is_page_data(const xen::Record& record) {
    return std::holds_alternative<xen::PageBatch>(record) || std::holds_alternative<xen::PageRun>(record);
}

/// `stripped`: takes every record that is not a page; may be null.
Result<XenTemplate> read(const std::string& path, Buffer* stripped) {
    VMFERRY_ASSIGN(auto file, InputFile::open(path));
    if (file.format() != StreamFormat::xen_xl) return std::unexpected(wrong_kind(path, file.format()));
    xen::StreamReader reader;
    InputBuffer input;
    CollectedXen collected;
    for (;;) {
        const auto offset = reader.offset();
        VMFERRY_ASSIGN(const auto step, reader.next(input.unread()));
        if (!step.event) {
            const auto space = input.space(step.need);
            VMFERRY_ASSIGN(const auto got, file.read(space));
            if (got == 0) return std::unexpected(reader.truncated(input.unread().size()));
            input.arrived(got);
            continue;
        }
        if (std::holds_alternative<xen::StreamEnd>(*step.event)) break;
        VMFERRY_TRY(collected.collect(*step.event, input.unread(), offset));
        if (stripped != nullptr && !is_page_data(*step.event)) xen::write_record(*stripped, *step.event);
        input.consume(step.consumed);
    }
    VMFERRY_TRY(collected.complete(reader.offset()));
    return std::move(collected.source);
}

}  // namespace

Result<XenTemplate> read_xen_template(const std::string& path) {
    return read(path, nullptr);
}

Result<StrippedStream> strip_pages(const std::string& path) {
    StrippedStream stripped;
    VMFERRY_ASSIGN(stripped.contents, read(path, &stripped.bytes));
    return stripped;
}

Result<void> write_stream_file(const std::string& path, Bytes bytes) {
    constexpr int level = 19;
    Buffer packed;
    if (path.ends_with(".zst")) {
        packed.resize(ZSTD_compressBound(bytes.size()));
        const auto size = ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), level);
        if (ZSTD_isError(size) != 0) return environment_error(path, "compressing", ZSTD_getErrorName(size));
        packed.resize(size);
        bytes = packed;
    }
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    file.close();
    if (!file) return environment_error(path, "writing", std::generic_category().message(errno));
    return {};
}

}  // namespace vmferry
