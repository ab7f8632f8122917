#include "parsers/xen/stream_reader.hpp"

#include "parsers/xen/libxl_records.hpp"
#include "parsers/xen/stream_reader_state.hpp"
#include "parsers/xen/xl_header.hpp"

namespace vmferry::xen {

namespace {

Phase first_phase(StreamReader::Start start) {
    switch (start) {
        case StreamReader::Start::xl_header:
            return Phase::xl_header;
        case StreamReader::Start::libxl_header:
            return Phase::libxl_header;
        case StreamReader::Start::libxc_header:
            return Phase::image_header;
    }
    return Phase::xl_header;
}

}  // namespace

Wanted first_wanted(Phase phase) {
    switch (phase) {
        case Phase::xl_header:
            return {"xl", "header", xl_fixed_size};
        case Phase::libxl_header:
            return {"libxl", "header", libxl_header_size};
        case Phase::libxl_record:
            return {"libxl", "record header", RecordHeader::size};
        case Phase::image_header:
            return {"libxc", "image header", image_header_size};
        case Phase::domain_header:
            return {"libxc", "domain header", domain_header_size};
        case Phase::libxc_record:
            return {"libxc", "record header", RecordHeader::size};
        case Phase::pages:
            return {"libxc", "PAGE_DATA", page_size};
        case Phase::skipping:
            return {"libxc", "optional record", 1};
        case Phase::stream_end:
        case Phase::finished:
            break;
    }
    return {"xen", "end of the stream", 0};
}

StreamReader::State::State(Start start)
    : phase(first_phase(start)), inside_libxl(start != Start::libxc_header) {}

StreamReader::State::Next StreamReader::State::next(Bytes in) {
    switch (phase) {
        case Phase::xl_header:
            return xl_header(in);
        case Phase::libxl_header:
            return libxl_header(in);
        case Phase::libxl_record:
            return libxl_record(in);
        case Phase::image_header:
            return image_header(in);
        case Phase::domain_header:
            return domain_header(in);
        case Phase::libxc_record:
            return libxc_record(in);
        case Phase::pages:
            return pages(in);
        case Phase::skipping:
            return skip(in, 0);
        case Phase::stream_end:
            phase = Phase::finished;
            return found(0, StreamEnd{});
        case Phase::finished:
            break;
    }
    return more({"xen", "end of the stream", in.size() + 1});
}

StreamReader::State::Next StreamReader::State::xl_header(Bytes in) {
    if (in.size() < xl_fixed_size) return more(first_wanted(phase));
    VMFERRY_ASSIGN(const auto size, xl_header_size(in, offset));
    if (in.size() < size) return more({"xl", "configuration", size});
    VMFERRY_ASSIGN(auto header, read_xl_header(in.first(size), offset));
    phase = Phase::libxl_header;
    return found(size, std::move(header));
}

StreamReader::StreamReader(Start start) : state_(std::make_unique<State>(start)) {}
StreamReader::~StreamReader() = default;
StreamReader::StreamReader(StreamReader&&) noexcept = default;
StreamReader& StreamReader::operator=(StreamReader&&) noexcept = default;

Result<Step<Record>> StreamReader::next(Bytes in) {
    return state_->next(in);
}

std::uint64_t StreamReader::offset() const {
    return state_->offset;
}

Error StreamReader::truncated(std::size_t have) const {
    const auto& state = *state_;
    // What was asked for last, if nothing has been found since.
    const auto [format, what, need] = state.wanted ? *state.wanted : first_wanted(state.phase);
    Error error{ErrorKind::stream,
                format,
                what,
                {},
                state.offset + have,
                fmt::format("the end of the stream after {} bytes", have),
                fmt::format("at least {}", need)};
    if (state.phase == Phase::pages)
        error.field = fmt::format("page of frame {:#x}", state.batch.next_entry().gfn);
    if (state.phase == Phase::finished) error.expected = "none: the stream is complete";
    return error;
}

}  // namespace vmferry::xen
