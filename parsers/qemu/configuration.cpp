#include "parsers/qemu/configuration.hpp"

#include <algorithm>
#include <array>

#include "parsers/qemu/cursor.hpp"
#include "parsers/qemu/format.hpp"
#include "parsers/qemu/refusals.hpp"
#include "parsers/qemu/stream_reader.hpp"

namespace vmferry::qemu {
namespace {

constexpr std::uint32_t x86_page_bits = 12;
constexpr std::uint32_t max_capabilities = 64;
// These change what the ram section looks like; the names that QEMU lists besides are of no consequence.
constexpr std::array<std::string_view, 2> impossible_capabilities = {"x-ignore-shared", "mapped-ram"};

using Parsed = Step<ParsedConfiguration>;

std::unexpected<Error> fail(std::string_view record, std::string_view field, std::uint64_t at,
                            std::string found, std::string expected) {
    return stream_error(std::string(format_name), std::string(record), std::string(field), at,
                        std::move(found), std::move(expected));
}

/// False: bytes are missing, cursor.need() tells how many.
Result<bool> skip_capabilities(Cursor& cursor, std::uint64_t offset) {
    constexpr std::string_view record = "configuration/capabilities";
    if (!cursor.has(4)) return false;
    const auto count = cursor.be32();
    if (count > max_capabilities)
        return fail(record, "count", offset + cursor.at() - 4, fmt::format("{}", count),
                    fmt::format("at most {}", max_capabilities));
    for (std::uint32_t i = 0; i < count; ++i) {
        if (!cursor.has(1)) return false;
        const auto length = cursor.u8();
        if (!cursor.has(length)) return false;
        const auto at = offset + cursor.at();
        const auto name = as_text(cursor.take(length));
        if (std::ranges::find(impossible_capabilities, name) != impossible_capabilities.end())
            return refuse(record, "name", at, fmt::format("capability {}", name), name);
    }
    return true;
}

Result<bool> skip_subsection(Cursor& cursor, std::uint64_t offset) {
    if (!cursor.has(2)) return false;
    const auto start = offset + cursor.at();
    cursor.take(1);
    const auto length = cursor.u8();
    if (!cursor.has(length + 4u)) return false;
    const auto name = as_text(cursor.take(length));
    if (const auto version = cursor.be32(); version != 1)
        return fail("CONFIGURATION", "subsection version", offset + cursor.at() - 4,
                    fmt::format("{}", version), "1");
    if (name == "configuration/capabilities") return skip_capabilities(cursor, offset);
    if (name == "configuration/uuid") {
        if (!cursor.has(16)) return false;
        cursor.take(16);
        return true;
    }
    if (name == "configuration/target-page-bits") {
        if (!cursor.has(4)) return false;
        if (const auto bits = cursor.be32(); bits != x86_page_bits)
            return fail(name, "page_bits", offset + cursor.at() - 4, fmt::format("{}", bits),
                        fmt::format("{}", x86_page_bits));
        return true;
    }
    return fail("CONFIGURATION", "subsection", start, fmt::format("an unknown name of {} bytes", length),
                "capabilities, target-page-bits or uuid");
}

}  // namespace

Result<Step<ParsedConfiguration>> parse_configuration(Bytes in, std::uint64_t offset) {
    if (in.empty()) return Parsed::more(1);
    if (in[0] != static_cast<std::byte>(ItemType::configuration)) {
        auto error = fail("CONFIGURATION", "type", offset,
                          fmt::format("{:02x}", std::to_integer<unsigned>(in[0])), "07");
        error.error().hint =
            "machine types up to 2.3 send none: use a newer one; nor does a device model's state by itself";
        return error;
    }
    Cursor cursor(in, 1);
    if (!cursor.has(4)) return Parsed::more(cursor.need());
    const auto length = cursor.be32();
    if (length == 0 || length > max_machine_name)
        return fail("CONFIGURATION", "name length", offset + 1, fmt::format("{}", length),
                    fmt::format("1 to {}", max_machine_name));
    if (!cursor.has(length)) return Parsed::more(cursor.need());
    const auto machine = as_text(cursor.take(length));
    if (!std::ranges::all_of(machine, [](char c) { return c > ' ' && c < 0x7f; }))
        return fail("CONFIGURATION", "name", offset + 5, "bytes that are no text", "a machine type");
    const auto start = cursor.at();
    while (true) {
        if (!cursor.has(1)) return Parsed::more(cursor.need());
        if (in[cursor.at()] != static_cast<std::byte>(ItemType::subsection)) break;
        if (cursor.at() - start > max_configuration_subsections)
            return fail("CONFIGURATION", "subsections", offset + cursor.at(), "one more",
                        fmt::format("at most {} bytes", max_configuration_subsections));
        VMFERRY_ASSIGN(const auto complete, skip_subsection(cursor, offset));
        if (!complete) return Parsed::more(cursor.need());
    }
    return Parsed::found(cursor.at(), {machine, in.subspan(start, cursor.at() - start)});
}

}  // namespace vmferry::qemu
