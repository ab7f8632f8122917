#include "tools/bench/xen_stream_frame.hpp"

#include <optional>
#include <variant>

#include <nlohmann/json.hpp>

#include "parsers/xen/stream_reader.hpp"
#include "parsers/xen/stream_writer.hpp"
#include "parsers/xen/xl_header.hpp"

namespace vmferry::bench {

namespace {

// Calls `found(record, begin, end)` for each record until libxl's END.
template <typename Found>
Result<void> walk(Bytes stream, Found found) {
    xen::StreamReader reader;
    std::size_t at = 0;
    for (;;) {
        VMFERRY_ASSIGN(const auto step, reader.next(stream.subspan(at)));
        if (!step.event) return std::unexpected(reader.truncated(stream.size() - at));
        found(*step.event, at, at + step.consumed);
        at += step.consumed;
        if (std::holds_alternative<xen::LibxlEnd>(*step.event)) return {};
    }
}

}  // namespace

Result<StreamFrame> frame_of(Bytes recorded) {
    std::optional<std::size_t> prelude_end;
    std::size_t tail_begin = 0, end = 0;
    VMFERRY_TRY(walk(recorded, [&](const xen::Record& record, std::size_t from, std::size_t to) {
        const bool pages =
            std::holds_alternative<xen::PageBatch>(record) || std::holds_alternative<xen::PageRun>(record);
        if (pages && !prelude_end) prelude_end = from;
        if (pages) tail_begin = to;
        end = to;
    }));
    if (!prelude_end) return stream_error("libxc", "PAGE_DATA", "", end, "none", "at least one");
    const auto piece = [&](std::size_t from, std::size_t to) {
        return Buffer(recorded.begin() + static_cast<std::ptrdiff_t>(from),
                      recorded.begin() + static_cast<std::ptrdiff_t>(to));
    };
    return StreamFrame{piece(0, *prelude_end), piece(tail_begin, end)};
}

Result<StreamFrame> resized(const StreamFrame& frame, const GuestLayout& layout) {
    xen::StreamReader reader;
    VMFERRY_ASSIGN(const auto step, reader.next(frame.prelude));
    const auto* header = step.event ? std::get_if<xen::XlHeader>(&*step.event) : nullptr;
    if (header == nullptr) return stream_error("xl", "header", "", 0, "another record", "an xl header");
    auto config = nlohmann::json::parse(header->config, nullptr, false);
    if (config.is_discarded())
        return stream_error("xl config", "JSON", "text", xen::xl_config_at, "no JSON", "JSON");
    auto& build = config["b_info"];
    const auto total = (layout.ram_bytes + layout.vram_bytes) >> 10;
    build["max_memkb"] = total;
    build["target_memkb"] = total;
    build["video_memkb"] = layout.vram_bytes >> 10;

    xen::XlHeader changed = *header;
    changed.config = config.dump();
    StreamFrame result;
    xen::write(result.prelude, changed);
    append(result.prelude, Bytes(frame.prelude).subspan(step.consumed));
    result.tail = frame.tail;
    return result;
}

StreamFrame bare_frame() {
    StreamFrame frame;
    xen::XlHeader header;
    header.config =
        R"({"c_info":{"type":"hvm","name":"generated"},"b_info":{"max_memkb":131072,"type.hvm":{}}})";
    xen::write(frame.prelude, header);
    xen::write(frame.prelude, xen::LibxlHeader{});
    xen::write(frame.prelude, xen::LibxcContext{});
    xen::write(frame.prelude, xen::ImageHeader{});
    xen::write(frame.prelude, xen::DomainHeader{.xen_major = 4, .xen_minor = 17});
    xen::write(frame.prelude, xen::StaticDataEnd{});
    xen::write(frame.tail, xen::TscInfo{});
    return frame;
}

}  // namespace vmferry::bench
