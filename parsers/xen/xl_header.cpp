#include "parsers/xen/xl_header.hpp"

#include "parsers/wire/place.hpp"
#include "parsers/xen/stream_reader.hpp"

namespace vmferry::xen {

namespace {

constexpr std::uint32_t byteorder_mark = 0x01020304;

std::string magic_hint(Bytes in) {
    const auto text = as_text(in);
    if (text.starts_with("LibxlFmt")) return "a libxl stream without xl's header, as libvirt sends it";
    if (text.starts_with("libvirt-xml")) return "a save file of libvirt; its libxl stream follows the XML";
    if (text.starts_with("QEVM")) return "a QEMU stream";
    return {};
}

}  // namespace

Result<std::size_t> xl_header_size(Bytes in, std::uint64_t offset) {
    const Place place{"xl", "header", offset};
    if (as_text(in.first(xl_magic.size())) != xl_magic)
        return place.wrong("magic", 0, "other bytes", "\"Xen saved domain, xl format\"", magic_hint(in));
    const auto byteorder = load_le<std::uint32_t>(in, 32);
    if (byteorder == byte_swap(byteorder_mark))
        return place.wrong("byteorder", 32, "big-endian", "little-endian (x86)");
    if (byteorder != byteorder_mark) return place.wrong("byteorder", 32, hex(byteorder), hex(byteorder_mark));

    const auto flags = load_le<std::uint32_t>(in, 36);
    if ((flags & ~(xl_flag_json | xl_flag_stream_v2)) != 0)
        return place.wrong("mandatory_flags", 36, hex(flags), "only bits 0 (JSON) and 1 (stream v2)");
    if ((flags & xl_flag_json) == 0)
        return place.wrong("mandatory_flags", 36, hex(flags), "bit 0 (configuration is JSON)",
                           "sent by Xen before 4.5");
    if ((flags & xl_flag_stream_v2) == 0)
        return place.wrong("mandatory_flags", 36, hex(flags), "bit 1 (libxl stream v2)",
                           "sent by Xen before 4.6; its legacy stream has to pass convert-legacy-stream");

    const auto length = load_le<std::uint32_t>(in, 44);
    if (length < 4) return place.wrong("optional_data_len", 44, std::to_string(length), "a configuration");
    if (length > 4 + max_config)
        return place.wrong("optional_data_len", 44, std::to_string(length),
                           fmt::format("at most {} (max_config)", 4 + max_config));
    return xl_fixed_size + length;
}

Result<XlHeader> read_xl_header(Bytes in, std::uint64_t offset) {
    const Place place{"xl", "header", offset};
    XlHeader header;
    header.mandatory_flags = load_le<std::uint32_t>(in, 36);
    header.optional_flags = load_le<std::uint32_t>(in, 40);

    const auto length = load_le<std::uint32_t>(in, 48);
    const auto rest = in.subspan(xl_config_at);
    if (length > rest.size())
        return place.wrong("config length", 48, std::to_string(length),
                           fmt::format("at most {} (the rest of optional_data_len)", rest.size()));
    if (length <= 1) return place.wrong("config length", 48, std::to_string(length), "a configuration");
    // xl hands the buffer to a JSON parser as a C string: a NUL ends it, and there must be one.
    const auto config = as_text(rest.first(length));
    const auto end = config.find('\0');
    if (end == config.npos)
        return place.wrong("config", xl_config_at + length - 1,
                           hex(std::to_integer<unsigned>(rest[length - 1])), "a trailing NUL");
    if (end != length - 1)
        return place.wrong("config", xl_config_at + end, "a NUL inside the text", "JSON text");
    header.config = config.substr(0, end);
    header.further_data = as_text(rest.subspan(length));
    return header;
}

}  // namespace vmferry::xen
