// Corruptions of the header that xl puts in front of a migration and of a save file.
#include <doctest/doctest.h>

#include "tests/parsers/xen/corruption.hpp"

namespace vmferry::xen::test {

namespace {

const std::vector<Corruption>& corruptions() {
    static const std::vector<Corruption> table = {
        {"wrong magic",
         "xl",
         3,
         {'x'},
         "xl header.magic",
         "other bytes",
         "\"Xen saved domain, xl format\"",
         0},
        {"a libxl stream",
         "xl",
         0,
         {'L', 'i', 'b', 'x', 'l', 'F', 'm', 't'},
         "xl header.magic",
         "other bytes",
         "\"Xen saved domain, xl format\""},
        {"big-endian", "xl", 32, {1, 2, 3, 4}, "xl header.byteorder", "big-endian", "little-endian (x86)"},
        {"wrong byteorder", "xl", 32, {1, 1, 1, 1}, "xl header.byteorder", "0x1010101", "0x1020304"},
        {"unknown mandatory flag",
         "xl",
         36,
         {7},
         "xl header.mandatory_flags",
         "0x7",
         "only bits 0 (JSON) and 1 (stream v2)"},
        {"not JSON", "xl", 36, {2}, "xl header.mandatory_flags", "0x2", "bit 0 (configuration is JSON)"},
        {"legacy stream", "xl", 36, {1}, "xl header.mandatory_flags", "0x1", "bit 1 (libxl stream v2)"},
        {"no configuration", "xl", 44, u32(0), "xl header.optional_data_len", "0", "a configuration"},
        {"configuration of 2 GiB", "xl", 44, u32(1U << 31), "xl header.optional_data_len", "2147483648",
         "at most 4194308 (max_config)"},
        {"configuration longer than its data", "xl", 48, u32(31), "xl header.config length", "31",
         "at most 30 (the rest of optional_data_len)"},
        {"empty configuration", "xl", 48, u32(0), "xl header.config length", "0", "a configuration"},
        {"configuration without NUL", "xl", 48, u32(29), "xl header.config", "0x7d", "a trailing NUL",
         52 + 28},
        {"NUL inside the configuration",
         "xl",
         60,
         {0},
         "xl header.config",
         "a NUL inside the text",
         "JSON text"},
        {"4 GiB of optional data", "xl", 44, u32(0xFFFFFFFF), "xl header.optional_data_len", "4294967295",
         "at most 4194308 (max_config)"},
        {"optional data of 3 bytes", "xl", 44, u32(3), "xl header.optional_data_len", "3", "a configuration"},
        {"configuration of 4 GiB", "xl", 48, u32(0xFFFFFFFF), "xl header.config length", "4294967295",
         "at most 30 (the rest of optional_data_len)"},
        {"reserved mandatory flag in the highest bit",
         "xl",
         39,
         {0x80},
         "xl header.mandatory_flags",
         "0x80000003",
         "only bits 0 (JSON) and 1 (stream v2)",
         36},
    };
    return table;
}

}  // namespace

TEST_CASE("corruptions of the xl header") {
    for (const auto& corruption : corruptions()) check_corruption(corruption);
}

TEST_CASE("hints say where a stream comes from") {
    const auto hint = [](std::string text) {
        text.resize(48);
        const auto back = read_all(as_bytes(text));
        REQUIRE(back.errors.size() == 1);
        CHECK(back.errors.front().field == "magic");
        return back.errors.front().hint;
    };
    CHECK(hint("LibxlFmt").find("libvirt sends it") != std::string::npos);
    CHECK(hint("libvirt-xml\n ").find("save file of libvirt") != std::string::npos);
    CHECK(hint("QEVM").find("QEMU") != std::string::npos);
    CHECK(hint("GET / HTTP/1.1").empty());
}

}  // namespace vmferry::xen::test
