// The layers, and the order of records inside them:
//
//     xl header ─→ libxl header ─→ libxl record ─┬→ END ─→ stream end ─→ finished
//                                      ↑         └→ LIBXC_CONTEXT
//                                      │                 ↓
//                                      │           image header ─→ domain header
//                                      │                                 ↓
//                                      └────────── END ←─────────── libxc record ⇄ pages, skipping
#include "parsers/xen/stream_reader.hpp"

#include <algorithm>

#include "parsers/xen/hvm_context.hpp"
#include "parsers/xen/libxc_records.hpp"
#include "parsers/xen/libxl_records.hpp"
#include "parsers/xen/page_data.hpp"
#include "parsers/xen/record_header.hpp"
#include "parsers/xen/xl_header.hpp"

namespace vmferry::xen {

namespace {

enum class Phase {
    xl_header,
    libxl_header,
    libxl_record,
    image_header,
    domain_header,
    libxc_record,
    pages,
    skipping,
    stream_end,
    finished,
};

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

/// Which of the records that may come only once have come.
class SeenOnce {
  public:
    [[nodiscard]] bool has(LibxcType type) const { return (bits_ >> index(type) & 1) != 0; }
    void add(LibxcType type) { bits_ |= 1U << index(type); }

  private:
    static unsigned index(LibxcType type) { return static_cast<unsigned>(type); }
    std::uint32_t bits_ = 0;
};

}  // namespace

struct StreamReader::State {
    using Next = Result<Step<Record>>;

    explicit State(Start start) : phase(first_phase(start)), inside_libxl(start != Start::libxc_header) {}

    Phase phase;
    bool inside_libxl;
    std::uint64_t offset = 0;  ///< of the first byte not consumed

    bool seen_libxc = false, seen_xenstore = false, seen_emulator = false;  // libxl
    std::uint32_t version = 0;                                              // libxc
    SeenOnce seen;
    PageDataReader batch;
    SkippedOptional skipped;  ///< the one being skipped; `at` counts what has been lent

    // What the last "need more" was about, for truncated().
    const char* format = "";
    const char* reading = "";
    std::size_t need = 0;

    Next next(Bytes in);

    Next more(const char* in_format, const char* what, std::size_t size) {
        format = in_format;
        reading = what;
        need = size;
        return Step<Record>::more(size);
    }
    Next found(std::size_t consumed, Record record) {
        offset += consumed;
        return Step<Record>::found(consumed, std::move(record));
    }

    Next xl_header(Bytes in);
    Next libxl_header(Bytes in);
    Next libxl_record(Bytes in);
    Next image_header(Bytes in);
    Next domain_header(Bytes in);
    Next libxc_record(Bytes in);
    Next page_batch(Bytes in);
    Next pages(Bytes in);
    Next skip(Bytes in, std::size_t head);

    [[nodiscard]] Result<void> check_libxl(RecordHeader header, const Place& place) const;
    [[nodiscard]] Result<void> check_libxc(RecordHeader header, const Place& place) const;
    [[nodiscard]] Result<void> check_libxc_order(LibxcType type, const Place& place) const;
    [[nodiscard]] Result<Record> libxc_body(LibxcType type, Bytes body, const Place& place) const;
};

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
    return more("xen", "nothing", in.size() + 1);
}

StreamReader::State::Next StreamReader::State::xl_header(Bytes in) {
    if (in.size() < xl_fixed_size) return more("xl", "header", xl_fixed_size);
    VMFERRY_ASSIGN(const auto size, xl_header_size(in, offset));
    if (in.size() < size) return more("xl", "configuration", size);
    VMFERRY_ASSIGN(auto header, read_xl_header(in.first(size), offset));
    phase = Phase::libxl_header;
    return found(size, std::move(header));
}

// ---- libxl ----

StreamReader::State::Next StreamReader::State::libxl_header(Bytes in) {
    if (in.size() < libxl_header_size) return more("libxl", "header", libxl_header_size);
    VMFERRY_ASSIGN(const auto header, read_libxl_header(in, offset));
    phase = Phase::libxl_record;
    return found(libxl_header_size, header);
}

Result<void> StreamReader::State::check_libxl(RecordHeader header, const Place& place) const {
    const auto length_is = [&](std::size_t least, std::size_t most) -> Result<void> {
        if (header.length >= least && header.length <= most) return {};
        return place.wrong("length", 4, std::to_string(header.length),
                           least == most ? std::to_string(most) : fmt::format("{} to {}", least, most));
    };
    const auto once = [&](bool already) -> Result<void> {
        if (already) return place.wrong("type", 0, "a second one", "one in a stream");
        return {};
    };
    switch (LibxlType{header.type}) {
        case LibxlType::end:
            if (!seen_libxc) return place.wrong("type", 0, "END before LIBXC_CONTEXT", "the guest's memory");
            return length_is(0, 0);
        case LibxlType::libxc_context:
            VMFERRY_TRY(once(seen_libxc));
            return length_is(0, 0);
        case LibxlType::emulator_xenstore_data:
            VMFERRY_TRY(once(seen_xenstore));
            return length_is(emulator_header_size, max_xenstore_data);
        case LibxlType::emulator_context:
            VMFERRY_TRY(once(seen_emulator));
            return length_is(emulator_header_size, max_emulator_context);
        case LibxlType::checkpoint_end:
        case LibxlType::checkpoint_state:
            return place.wrong("type", 0, place.record, "a record of a plain migration",
                               "checkpointed streams (Remus, COLO) never end and cannot be carried");
    }
    // libxl knows no optional records: bit 31 changes nothing here.
    return place.wrong("type", 0, hex(header.type), "a record that libxl defines (0 to 5)");
}

StreamReader::State::Next StreamReader::State::libxl_record(Bytes in) {
    if (in.size() < RecordHeader::size) return more("libxl", "record header", RecordHeader::size);
    const auto header = load_record_header(in);
    const auto* name = libxl_record_name(header.type);
    VMFERRY_TRY(check_libxl(header, {"libxl", name != nullptr ? name : "record", offset}));

    const auto size = RecordHeader::size + header.padded();
    if (in.size() < size) return more("libxl", name, size);
    const auto padded = in.subspan(RecordHeader::size, header.padded());
    const Place place{"libxl", name, offset + RecordHeader::size};
    VMFERRY_TRY(check_padding(padded, header.length, place));

    switch (LibxlType{header.type}) {
        case LibxlType::libxc_context:
            seen_libxc = true;
            phase = Phase::image_header;
            return found(size, LibxcContext{});
        case LibxlType::emulator_xenstore_data: {
            VMFERRY_ASSIGN(auto record, read_emulator_xenstore_data(padded.first(header.length), place));
            seen_xenstore = true;
            return found(size, std::move(record));
        }
        case LibxlType::emulator_context: {
            VMFERRY_ASSIGN(const auto record, read_emulator_context(padded.first(header.length), place));
            seen_emulator = true;
            return found(size, record);
        }
        default:
            break;
    }
    phase = Phase::stream_end;
    return found(size, LibxlEnd{});
}

// ---- libxc ----

StreamReader::State::Next StreamReader::State::image_header(Bytes in) {
    if (in.size() < image_header_size) return more("libxc", "image header", image_header_size);
    VMFERRY_ASSIGN(const auto header, read_image_header(in, offset));
    version = header.version;
    phase = Phase::domain_header;
    return found(image_header_size, header);
}

StreamReader::State::Next StreamReader::State::domain_header(Bytes in) {
    if (in.size() < domain_header_size) return more("libxc", "domain header", domain_header_size);
    VMFERRY_ASSIGN(const auto header, read_domain_header(in, offset));
    phase = Phase::libxc_record;
    return found(domain_header_size, header);
}

Result<void> StreamReader::State::check_libxc(RecordHeader header, const Place& place) const {
    if (header.length > max_libxc_record)
        return place.wrong("length", 4, std::to_string(header.length),
                           fmt::format("at most {} (max_libxc_record)", max_libxc_record));
    const auto info = libxc_record_info(header.type);
    if (info.name == nullptr) {
        if ((header.type & record_optional) != 0) return {};
        return place.wrong("type", 0, hex(header.type), "a record that libxc defines",
                           "sent by a release of Xen that this one does not know");
    }
    if (info.refusal != nullptr) return place.wrong("type", 0, info.name, "no such record", info.refusal);
    const auto type = LibxcType{header.type};
    VMFERRY_TRY(check_libxc_order(type, place));
    if (type != LibxcType::page_data && header.length > info.limit)
        return place.wrong("length", 4, std::to_string(header.length),
                           info.limit == 0 ? "0" : fmt::format("at most {}", info.limit));
    return {};
}

Result<void> StreamReader::State::check_libxc_order(LibxcType type, const Place& place) const {
    const auto wrong = [&](const char* found, const char* expected) {
        return place.wrong("type", 0, found, expected);
    };
    if (type != LibxcType::page_data && seen.has(type)) return wrong("a second one", "one in a stream");
    switch (type) {
        case LibxcType::x86_cpuid_policy:
        case LibxcType::x86_msr_policy:
        case LibxcType::static_data_end:
            if (version < 3) return wrong("a record of version 3", "records of version 2");
            if (seen.has(LibxcType::static_data_end))
                return wrong("a policy after STATIC_DATA_END", "policies before it");
            return {};
        case LibxcType::page_data:
        case LibxcType::verify:
            if (version >= 3 && !seen.has(LibxcType::static_data_end))
                return wrong("no STATIC_DATA_END yet", "STATIC_DATA_END before the first pages");
            return {};
        case LibxcType::end:
            if (version >= 3 && !seen.has(LibxcType::static_data_end))
                return wrong("no STATIC_DATA_END", "STATIC_DATA_END before END");
            if (!seen.has(LibxcType::hvm_context)) return wrong("no HVM_CONTEXT", "HVM_CONTEXT before END");
            return {};
        default:
            return {};
    }
}

StreamReader::State::Next StreamReader::State::libxc_record(Bytes in) {
    if (in.size() < RecordHeader::size) return more("libxc", "record header", RecordHeader::size);
    const auto header = load_record_header(in);
    const auto* name = libxc_record_info(header.type).name;
    VMFERRY_TRY(check_libxc(header, {"libxc", name != nullptr ? name : "record", offset}));
    if (name == nullptr) {
        skipped = {header.type, header.length, 0, {}};
        return skip(in, RecordHeader::size);
    }
    const auto type = LibxcType{header.type};
    if (type == LibxcType::page_data) return page_batch(in);

    const auto size = RecordHeader::size + header.padded();
    if (in.size() < size) return more("libxc", name, size);
    const auto padded = in.subspan(RecordHeader::size, header.padded());
    const Place place{"libxc", name, offset + RecordHeader::size};
    VMFERRY_TRY(check_padding(padded, header.length, place));
    VMFERRY_ASSIGN(auto record, libxc_body(type, padded.first(header.length), place));
    seen.add(type);
    if (type == LibxcType::end) phase = inside_libxl ? Phase::libxl_record : Phase::stream_end;
    return found(size, std::move(record));
}

Result<Record> StreamReader::State::libxc_body(LibxcType type, Bytes body, const Place& place) const {
    switch (type) {
        case LibxcType::x86_cpuid_policy:
            return read_cpuid_policy(body, place);
        case LibxcType::x86_msr_policy:
            return read_msr_policy(body, place);
        case LibxcType::static_data_end:
            return StaticDataEnd{};
        case LibxcType::x86_tsc_info:
            return read_tsc_info(body, place);
        case LibxcType::hvm_params:
            return read_hvm_params(body, place);
        case LibxcType::hvm_context:
            if (body.empty()) return place.wrong("length", 0, "0", "the guest's device state");
            return HvmContextRecord{body};
        case LibxcType::verify:
            return Verify{};
        default:
            return LibxcEnd{};
    }
}

StreamReader::State::Next StreamReader::State::page_batch(Bytes in) {
    // A receiver of version 3 takes the first pages of a version 2 stream as the end of the static data.
    if (version < 3 && !seen.has(LibxcType::static_data_end)) {
        seen.add(LibxcType::static_data_end);
        return found(0, StaticDataEnd{.inferred = true});
    }
    if (in.size() < PageDataReader::head_size) return more("libxc", "PAGE_DATA", PageDataReader::head_size);
    VMFERRY_ASSIGN(const auto size, PageDataReader::list_end(in, offset));
    if (in.size() < size) return more("libxc", "PAGE_DATA", size);
    VMFERRY_ASSIGN(const auto head, batch.begin(in, offset));
    if (batch.left() > 0) phase = Phase::pages;
    return found(size, head);
}

StreamReader::State::Next StreamReader::State::pages(Bytes in) {
    if (in.size() < page_size) return more("libxc", "PAGE_DATA", page_size);
    const auto run = batch.take(in);
    if (batch.left() == 0) phase = Phase::libxc_record;
    return found(run.pages.size(), run);
}

// Lends what has arrived of the body; its last piece takes the padding along. `head` bytes of the record
// header precede the body in `in`.
StreamReader::State::Next StreamReader::State::skip(Bytes in, std::size_t head) {
    const auto body = in.subspan(head);
    const std::size_t left = skipped.length - skipped.at;
    const auto left_padded = RecordHeader{skipped.type, skipped.length}.padded() - skipped.at;
    auto record = skipped;
    if (body.size() >= left_padded) {
        const Place place{"libxc", hex(skipped.type), offset + head};
        VMFERRY_TRY(check_padding(body.first(left_padded), static_cast<std::uint32_t>(left), place));
        record.part = body.first(left);
        phase = Phase::libxc_record;
        return found(head + left_padded, record);
    }
    record.part = body.first(std::min(body.size(), left > 0 ? left - 1 : 0));
    if (record.part.empty() && head == 0) return more("libxc", "optional record", left > 1 ? 1 : left_padded);
    skipped.at += static_cast<std::uint32_t>(record.part.size());
    phase = Phase::skipping;
    return found(head + record.part.size(), record);
}

// ---- the reader ----

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
    auto error = Error{ErrorKind::stream,
                       state.format,
                       state.reading,
                       {},
                       state.offset + have,
                       fmt::format("the end of the stream after {} bytes", have),
                       fmt::format("at least {}", state.need)};
    if (state.phase == Phase::pages)
        error.field = fmt::format("page of frame {:#x}", state.batch.next_entry().gfn);
    if (state.phase == Phase::finished) error.expected = "nothing: the stream was complete";
    return error;
}

}  // namespace vmferry::xen
