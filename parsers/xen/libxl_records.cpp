#include "parsers/xen/libxl_records.hpp"

namespace vmferry::xen {

const char* libxl_record_name(std::uint32_t type) {
    switch (LibxlType{type}) {
        case LibxlType::end:
            return "END";
        case LibxlType::libxc_context:
            return "LIBXC_CONTEXT";
        case LibxlType::emulator_xenstore_data:
            return "EMULATOR_XENSTORE_DATA";
        case LibxlType::emulator_context:
            return "EMULATOR_CONTEXT";
        case LibxlType::checkpoint_end:
            return "CHECKPOINT_END";
        case LibxlType::checkpoint_state:
            return "CHECKPOINT_STATE";
    }
    return nullptr;
}

Result<LibxlHeader> read_libxl_header(Bytes in, std::uint64_t offset) {
    const Place place{"libxl", "header", offset};
    const auto ident = load_be<std::uint64_t>(in, 0);
    if (ident != libxl_ident) return place.wrong("ident", 0, fmt::format("{:#018x}", ident), "\"LibxlFmt\"");
    LibxlHeader header;
    header.version = load_be<std::uint32_t>(in, 8);
    if (header.version != 2) return place.wrong("version", 8, std::to_string(header.version), "2");
    header.options = load_be<std::uint32_t>(in, 12);
    if ((header.options & libxl_option_big_endian) != 0)
        return place.wrong("options", 12, "big-endian", "little-endian (x86)");
    if ((header.options & ~libxl_option_legacy) != 0)
        return place.wrong("options", 12, hex(header.options), "reserved bits zero");
    return header;
}

Result<EmulatorXenstoreData> read_emulator_xenstore_data(Bytes body, const Place& place) {
    if (body.size() < emulator_header_size) return place.wrong_length(body.size(), "at least 8");
    EmulatorXenstoreData record;
    record.emulator = load_le<std::uint32_t>(body, 0);
    record.index = load_le<std::uint32_t>(body, 4);

    auto rest = as_text(body.subspan(emulator_header_size));
    const auto at = [&] { return body.size() - rest.size(); };
    while (!rest.empty()) {
        const auto key_end = rest.find('\0');
        if (key_end == rest.npos) return place.wrong("key", at(), "no NUL", "a NUL after each string");
        const auto key = rest.substr(0, key_end);
        // Keys are relative to the device model's own directory; libxl refuses to leave it.
        if (key.empty() || key.front() == '/')
            return place.wrong("key", at(), fmt::format("\"{}\"", key), "a relative path");
        rest.remove_prefix(key_end + 1);
        const auto value_end = rest.find('\0');
        if (value_end == rest.npos) return place.wrong("value", at(), "no NUL", "a NUL after each string");
        record.entries.emplace_back(key, rest.substr(0, value_end));
        rest.remove_prefix(value_end + 1);
    }
    return record;
}

Result<EmulatorContext> read_emulator_context(Bytes body, const Place& place) {
    if (body.size() < emulator_header_size) return place.wrong_length(body.size(), "at least 8");
    return EmulatorContext{load_le<std::uint32_t>(body, 0), load_le<std::uint32_t>(body, 4),
                           body.subspan(emulator_header_size)};
}

}  // namespace vmferry::xen
