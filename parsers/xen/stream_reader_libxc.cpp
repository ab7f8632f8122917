// StreamReader's part for the libxc layer.
#include <algorithm>

#include "parsers/xen/stream_reader_state.hpp"

namespace vmferry::xen {

StreamReader::State::Next StreamReader::State::image_header(Bytes in) {
    if (in.size() < image_header_size) return more(first_wanted(phase));
    VMFERRY_ASSIGN(const auto header, read_image_header(in, offset));
    version = header.version;
    phase = Phase::domain_header;
    return found(image_header_size, header);
}

StreamReader::State::Next StreamReader::State::domain_header(Bytes in) {
    if (in.size() < domain_header_size) return more(first_wanted(phase));
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
    if (info.refusal != nullptr)
        return place.wrong("type", 0, info.name, "a record of an HVM guest's plain stream", info.refusal);
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
    if (in.size() < RecordHeader::size) return more(first_wanted(phase));
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
    if (in.size() < size) return more({"libxc", name, size});
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
            if (body.empty()) return place.wrong_length(0, "the guest's device state");
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
    if (in.size() < PageDataReader::head_size) return more({"libxc", "PAGE_DATA", PageDataReader::head_size});
    VMFERRY_ASSIGN(const auto size, PageDataReader::list_end(in, offset));
    if (in.size() < size) return more({"libxc", "PAGE_DATA", size});
    VMFERRY_ASSIGN(const auto head, batch.begin(in, offset));
    if (batch.left() > 0) phase = Phase::pages;
    return found(size, head);
}

StreamReader::State::Next StreamReader::State::pages(Bytes in) {
    if (in.size() < page_size) return more(first_wanted(phase));
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
    if (record.part.empty()) return more({"libxc", "optional record", head + (left > 1 ? 1 : left_padded)});
    skipped.at += static_cast<std::uint32_t>(record.part.size());
    phase = Phase::skipping;
    return found(head + record.part.size(), record);
}

}  // namespace vmferry::xen
