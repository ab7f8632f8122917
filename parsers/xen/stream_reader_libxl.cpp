// StreamReader's part for the libxl layer.
#include "parsers/xen/libxl_records.hpp"
#include "parsers/xen/stream_reader_state.hpp"

namespace vmferry::xen {

StreamReader::State::Next StreamReader::State::libxl_header(Bytes in) {
    if (in.size() < libxl_header_size) return more(first_wanted(phase));
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
    if (in.size() < RecordHeader::size) return more(first_wanted(phase));
    const auto header = load_record_header(in);
    const auto* name = libxl_record_name(header.type);
    VMFERRY_TRY(check_libxl(header, {"libxl", name != nullptr ? name : "record", offset}));

    const auto size = RecordHeader::size + header.padded();
    if (in.size() < size) return more({"libxl", name, size});
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

}  // namespace vmferry::xen
