// Named corruptions of a good stream, and what the reader says of each.
#include <doctest/doctest.h>

#include "parsers/xen/libxc_records.hpp"
#include "parsers/xen/page_data.hpp"
#include "tests/parsers/xen/support.hpp"

namespace vmferry::xen::test {

namespace {

/// What to change, `at` bytes into a part. Values of one byte to eight.
struct Change {
    const char* part;
    std::size_t at;
    std::vector<std::uint8_t> bytes;
};
std::vector<std::uint8_t> u32(std::uint32_t value) {
    std::vector<std::uint8_t> bytes(4);
    std::memcpy(bytes.data(), &value, 4);
    return bytes;
}
std::vector<std::uint8_t> u64(std::uint64_t value) {
    std::vector<std::uint8_t> bytes(8);
    std::memcpy(bytes.data(), &value, 8);
    return bytes;
}

struct Corruption {
    std::string name;
    Change change;
    std::string format;
    std::string record;
    std::string field;
    std::string found;          ///< contained in what the error found
    std::size_t error_at = ~0;  ///< in the part; the place of the change unless it says otherwise
};

const std::vector<Corruption>& corruptions() {
    static const std::vector<Corruption> table = {
        {"xl: wrong magic", {"xl", 3, {'x'}}, "xl", "header", "magic", "other bytes", 0},
        {"xl: a libxl stream",
         {"xl", 0, {'L', 'i', 'b', 'x', 'l', 'F', 'm', 't'}},
         "xl",
         "header",
         "magic",
         "other"},
        {"xl: big-endian", {"xl", 32, {1, 2, 3, 4}}, "xl", "header", "byteorder", "big-endian"},
        {"xl: wrong byteorder", {"xl", 32, {1, 1, 1, 1}}, "xl", "header", "byteorder", "0x1010101"},
        {"xl: unknown mandatory flag", {"xl", 36, {7}}, "xl", "header", "mandatory_flags", "0x7"},
        {"xl: not JSON", {"xl", 36, {2}}, "xl", "header", "mandatory_flags", "0x2"},
        {"xl: legacy stream", {"xl", 36, {1}}, "xl", "header", "mandatory_flags", "0x1"},
        {"xl: no configuration", {"xl", 44, u32(0)}, "xl", "header", "optional_data_len", "0"},
        {"xl: configuration of 2 GiB",
         {"xl", 44, u32(1U << 31)},
         "xl",
         "header",
         "optional_data_len",
         "2147483648"},
        {"xl: configuration longer than its data",
         {"xl", 48, u32(31)},
         "xl",
         "header",
         "config length",
         "31"},
        {"xl: empty configuration", {"xl", 48, u32(0)}, "xl", "header", "config length", "0"},
        {"xl: configuration without NUL", {"xl", 48, u32(29)}, "xl", "header", "config", "0x7d", 52 + 28},
        {"xl: NUL inside the configuration", {"xl", 60, {0}}, "xl", "header", "config", "a NUL inside"},

        {"libxl: wrong ident", {"libxl", 0, {'X'}}, "libxl", "header", "ident", "0x5869"},
        {"libxl: version 3", {"libxl", 11, {3}}, "libxl", "header", "version", "3", 8},
        {"libxl: big-endian", {"libxl", 15, {1}}, "libxl", "header", "options", "big-endian", 12},
        {"libxl: reserved option", {"libxl", 15, {4}}, "libxl", "header", "options", "0x4", 12},
        {"libxl: unknown record", {"LIBXC_CONTEXT", 0, u32(6)}, "libxl", "record", "type", "0x6"},
        {"libxl: optional records do not exist",
         {"LIBXC_CONTEXT", 0, u32(0x80000006)},
         "libxl",
         "record",
         "type",
         "0x80000006"},
        {"libxl: LIBXC_CONTEXT with a body",
         {"LIBXC_CONTEXT", 4, u32(8)},
         "libxl",
         "LIBXC_CONTEXT",
         "length",
         "8"},
        {"libxl: END before memory",
         {"LIBXC_CONTEXT", 0, u32(0)},
         "libxl",
         "END",
         "type",
         "before LIBXC_CONTEXT"},
        {"libxl: second LIBXC_CONTEXT", {"END", 0, u32(1)}, "libxl", "LIBXC_CONTEXT", "type", "a second one"},
        {"libxl: END with a body", {"END", 4, u32(1)}, "libxl", "END", "length", "1"},
        {"libxl: CHECKPOINT_END",
         {"EMULATOR_CONTEXT", 0, u32(4)},
         "libxl",
         "CHECKPOINT_END",
         "type",
         "CHECKPOINT_END"},
        {"libxl: CHECKPOINT_STATE",
         {"EMULATOR_CONTEXT", 0, u32(5)},
         "libxl",
         "CHECKPOINT_STATE",
         "type",
         "CHECKPOINT_STATE"},
        {"libxl: EMULATOR_CONTEXT too short",
         {"EMULATOR_CONTEXT", 4, u32(7)},
         "libxl",
         "EMULATOR_CONTEXT",
         "length",
         "7"},
        {"libxl: EMULATOR_CONTEXT of 1 GiB",
         {"EMULATOR_CONTEXT", 4, u32(1U << 30)},
         "libxl",
         "EMULATOR_CONTEXT",
         "length",
         "1073741824"},
        {"libxl: padding",
         {"EMULATOR_CONTEXT", 8 + 8 + 333 + 1, {1}},
         "libxl",
         "EMULATOR_CONTEXT",
         "padding",
         "0x1"},
        {"libxl: xenstore key leaves its directory",
         {"EMULATOR_XENSTORE_DATA", 16, {'/'}},
         "libxl",
         "EMULATOR_XENSTORE_DATA",
         "key",
         "\"/hysmap"},
        {"libxl: empty xenstore key",
         {"EMULATOR_XENSTORE_DATA", 16, {0}},
         "libxl",
         "EMULATOR_XENSTORE_DATA",
         "key",
         "\"\""},
        {"libxl: xenstore value without NUL",
         {"EMULATOR_XENSTORE_DATA", 4, u32(8 + 22 + 4)},
         "libxl",
         "EMULATOR_XENSTORE_DATA",
         "padding",
         "",
         8 + 8 + 22 + 4},

        {"libxc: wrong marker", {"image", 0, {0}}, "libxc", "image header", "marker", "0xffffffffffffff"},
        {"libxc: wrong id", {"image", 8, {0}}, "libxc", "image header", "id", "0x454e46"},
        {"libxc: version 1", {"image", 15, {1}}, "libxc", "image header", "version", "1", 12},
        {"libxc: version 4", {"image", 15, {4}}, "libxc", "image header", "version", "4", 12},
        {"libxc: big-endian", {"image", 17, {1}}, "libxc", "image header", "options", "big-endian", 16},
        {"libxc: reserved option", {"image", 16, {1}}, "libxc", "image header", "options", "0x100"},
        {"libxc: reserved bytes", {"image", 23, {1}}, "libxc", "image header", "reserved", "0x1", 18},
        {"libxc: PV domain", {"domain", 0, u32(1)}, "libxc", "domain header", "type", "x86 PV"},
        {"libxc: unknown domain type", {"domain", 0, u32(3)}, "libxc", "domain header", "type", "3"},
        {"libxc: page_shift 16", {"domain", 4, {16}}, "libxc", "domain header", "page_shift", "16"},
        {"libxc: reserved bits of the domain header",
         {"domain", 6, {1}},
         "libxc",
         "domain header",
         "reserved",
         "0x1"},

        {"libxc: over-long record",
         {"X86_TSC_INFO", 4, u32(0x8000001)},
         "libxc",
         "X86_TSC_INFO",
         "length",
         "134217729"},
        {"libxc: unknown mandatory record", {"optional", 0, u32(0x123)}, "libxc", "record", "type", "0x123"},
        {"libxc: over-long optional record",
         {"optional", 4, u32(0xFFFFFFFF)},
         "libxc",
         "record",
         "length",
         "4294967295"},
        {"libxc: padding of an optional record",
         {"optional", 8 + 37, {9}},
         "libxc",
         "0x80000123",
         "padding",
         "0x9"},
        {"libxc: X86_PV_INFO", {"X86_TSC_INFO", 0, u32(2)}, "libxc", "X86_PV_INFO", "type", "X86_PV_INFO"},
        {"libxc: X86_PV_P2M_FRAMES",
         {"X86_TSC_INFO", 0, u32(3)},
         "libxc",
         "X86_PV_P2M_FRAMES",
         "type",
         "X86_PV"},
        {"libxc: X86_PV_VCPU_BASIC",
         {"X86_TSC_INFO", 0, u32(4)},
         "libxc",
         "X86_PV_VCPU_BASIC",
         "type",
         "X86_PV"},
        {"libxc: X86_PV_VCPU_EXTENDED",
         {"X86_TSC_INFO", 0, u32(5)},
         "libxc",
         "X86_PV_VCPU_EXTENDED",
         "type",
         "X86_PV"},
        {"libxc: X86_PV_VCPU_XSAVE",
         {"X86_TSC_INFO", 0, u32(6)},
         "libxc",
         "X86_PV_VCPU_XSAVE",
         "type",
         "X86_PV"},
        {"libxc: SHARED_INFO", {"X86_TSC_INFO", 0, u32(7)}, "libxc", "SHARED_INFO", "type", "SHARED_INFO"},
        {"libxc: TOOLSTACK", {"X86_TSC_INFO", 0, u32(0xB)}, "libxc", "TOOLSTACK", "type", "TOOLSTACK"},
        {"libxc: X86_PV_VCPU_MSRS",
         {"X86_TSC_INFO", 0, u32(0xC)},
         "libxc",
         "X86_PV_VCPU_MSRS",
         "type",
         "X86_PV"},
        {"libxc: CHECKPOINT", {"VERIFY", 0, u32(0xE)}, "libxc", "CHECKPOINT", "type", "CHECKPOINT"},
        {"libxc: CHECKPOINT_DIRTY_PFN_LIST",
         {"VERIFY", 0, u32(0xF)},
         "libxc",
         "CHECKPOINT_DIRTY_PFN_LIST",
         "type",
         "CHECKPOINT"},

        {"policy: empty CPUID", {"X86_CPUID_POLICY", 4, u32(0)}, "libxc", "X86_CPUID_POLICY", "length", "0"},
        {"policy: CPUID not in leaves",
         {"X86_CPUID_POLICY", 4, u32(71)},
         "libxc",
         "X86_CPUID_POLICY",
         "length",
         "71"},
        {"policy: CPUID too long",
         {"X86_CPUID_POLICY", 4, u32(24 * (max_cpuid_leaves + 1))},
         "libxc",
         "X86_CPUID_POLICY",
         "length",
         "12312"},
        {"policy: CPUID leaf twice",
         {"X86_CPUID_POLICY", 8 + 24, {0, 0, 0, 0, 255, 255, 255, 255}},
         "libxc",
         "X86_CPUID_POLICY",
         "leaf",
         "0x0:0xffffffff again"},
        {"policy: MSR flags", {"X86_MSR_POLICY", 12, {1}}, "libxc", "X86_MSR_POLICY", "flags", "0x1"},
        {"policy: MSR twice",
         {"X86_MSR_POLICY", 8 + 16, {0xCE, 0}},
         "libxc",
         "X86_MSR_POLICY",
         "index",
         "0xce again"},
        {"policy: second CPUID policy",
         {"X86_MSR_POLICY", 0, u32(0x11)},
         "libxc",
         "X86_CPUID_POLICY",
         "type",
         "a second one"},
        {"policy: after STATIC_DATA_END",
         {"VERIFY", 0, u32(0x12)},
         "libxc",
         "X86_MSR_POLICY",
         "type",
         "a second one"},
        {"order: no STATIC_DATA_END",
         {"STATIC_DATA_END", 0, u32(0x80000010)},
         "libxc",
         "PAGE_DATA",
         "type",
         "no STATIC_DATA_END yet",
         ~std::size_t{1}},
        {"order: second STATIC_DATA_END",
         {"VERIFY", 0, u32(0x10)},
         "libxc",
         "STATIC_DATA_END",
         "type",
         "a second one"},
        {"order: second VERIFY", {"libxc END", 0, u32(0xD)}, "libxc", "VERIFY", "type", "a second one"},
        {"order: no HVM_CONTEXT", {"X86_TSC_INFO", 0, u32(0)}, "libxc", "END", "type", "no HVM_CONTEXT"},
        {"order: second HVM_CONTEXT",
         {"HVM_PARAMS", 0, u32(9)},
         "libxc",
         "HVM_CONTEXT",
         "type",
         "a second one"},
        {"order: second X86_TSC_INFO",
         {"HVM_PARAMS", 0, u32(8)},
         "libxc",
         "X86_TSC_INFO",
         "type",
         "a second one"},
        {"order: second HVM_PARAMS",
         {"libxc END", 0, u32(0xA)},
         "libxc",
         "HVM_PARAMS",
         "type",
         "a second one"},
        {"STATIC_DATA_END with a body",
         {"STATIC_DATA_END", 4, u32(8)},
         "libxc",
         "STATIC_DATA_END",
         "length",
         "8"},

        {"pages: count 0", {"PAGE_DATA", 8, u32(0)}, "libxc", "PAGE_DATA", "count", "0"},
        {"pages: count above the limit",
         {"PAGE_DATA", 8, u32(32769)},
         "libxc",
         "PAGE_DATA",
         "count",
         "32769"},
        {"pages: count beyond the length",
         {"PAGE_DATA", 8, u32(30000)},
         "libxc",
         "PAGE_DATA",
         "count",
         "30000"},
        {"pages: count that does not fit the length",
         {"PAGE_DATA", 8, u32(8)},
         "libxc",
         "PAGE_DATA",
         "length",
         "16464",
         4},
        {"pages: reserved word", {"PAGE_DATA", 12, {1}}, "libxc", "PAGE_DATA", "reserved", "0x1"},
        {"pages: length of a page more",
         {"PAGE_DATA", 4, u32(80 + 5 * 4096)},
         "libxc",
         "PAGE_DATA",
         "length",
         "20560"},
        {"pages: length not whole pages",
         {"PAGE_DATA", 4, u32(80 + 4 * 4096 + 8)},
         "libxc",
         "PAGE_DATA",
         "length",
         "16472"},
        {"pages: reserved bits of a pfn",
         {"PAGE_DATA", 16 + 8 * 2, u64(0x0010000000000102)},
         "libxc",
         "PAGE_DATA",
         "pfn[2]",
         "0x0010000000000102"},
        {"pages: frame beyond the address space",
         {"PAGE_DATA", 16 + 8 * 3, u64(max_gfn + 1)},
         "libxc",
         "PAGE_DATA",
         "pfn[3]",
         "0x10000000000"},
        {"pages: reserved type 5",
         {"PAGE_DATA", 16 + 8 * 4, u64(0x5000000000000104)},
         "libxc",
         "PAGE_DATA",
         "pfn[4]",
         "type 0x5"},
        {"pages: reserved type 8",
         {"PAGE_DATA", 16 + 8 * 8, u64(0x8000000000000108)},
         "libxc",
         "PAGE_DATA",
         "pfn[8]",
         "type 0x8"},
        {"pages: XTAB where a page follows",
         {"PAGE_DATA", 16 + 8 * 2, u64(0xF000000000000102)},
         "libxc",
         "PAGE_DATA",
         "length",
         "16464",
         4},
        {"pages: a hole that claims a page",
         {"holes", 16, u64(0x10000)},
         "libxc",
         "PAGE_DATA",
         "length",
         "32",
         4},

        {"TSC: length", {"X86_TSC_INFO", 4, u32(16)}, "libxc", "X86_TSC_INFO", "length", "16"},
        {"TSC: mode PVRDTSCP", {"X86_TSC_INFO", 8, u32(3)}, "libxc", "X86_TSC_INFO", "mode", "3"},
        {"TSC: reserved", {"X86_TSC_INFO", 28, {1}}, "libxc", "X86_TSC_INFO", "reserved", "0x1"},
        {"HVM_CONTEXT: empty", {"HVM_CONTEXT", 4, u32(0)}, "libxc", "HVM_CONTEXT", "length", "0"},
        {"HVM_CONTEXT: above the limit",
         {"HVM_CONTEXT", 4, u32(max_hvm_context + 1)},
         "libxc",
         "HVM_CONTEXT",
         "length",
         "16777217"},
        {"HVM_PARAMS: count", {"HVM_PARAMS", 8, u32(4)}, "libxc", "HVM_PARAMS", "count", "4"},
        {"HVM_PARAMS: count that wraps",
         {"HVM_PARAMS", 8, u32(0x10000003)},
         "libxc",
         "HVM_PARAMS",
         "count",
         "268435459"},
        {"HVM_PARAMS: reserved", {"HVM_PARAMS", 12, {1}}, "libxc", "HVM_PARAMS", "reserved", "0x1"},
        {"HVM_PARAMS: parameter twice",
         {"HVM_PARAMS", 16 + 16, u64(1)},
         "libxc",
         "HVM_PARAMS",
         "index",
         "1 again"},
        {"HVM_PARAMS: too many",
         {"HVM_PARAMS", 4, u32(8 + 16 * 65)},
         "libxc",
         "HVM_PARAMS",
         "length",
         "1048"},
    };
    return table;
}

}  // namespace

TEST_CASE("named corruptions are refused in one clear error each") {
    const auto good = build_stream();
    for (const auto& corruption : corruptions()) {
        CAPTURE(corruption.name);
        auto bytes = good.bytes;
        const auto part = good.at.at(corruption.change.part);
        std::memcpy(bytes.data() + part + corruption.change.at, corruption.change.bytes.data(),
                    corruption.change.bytes.size());
        for (const std::size_t step : {bytes.size(), std::size_t{1}}) {
            const auto back = read_all(bytes, [&](std::size_t) { return step; });
            REQUIRE(back.errors.size() == 1);
            const auto& error = back.errors.front();
            CAPTURE(error.text());
            CHECK(error.kind == ErrorKind::stream);
            CHECK(error.format == corruption.format);
            CHECK(error.record == corruption.record);
            CHECK(error.field == corruption.field);
            CHECK(error.found.find(corruption.found) != std::string::npos);
            CHECK_FALSE(error.expected.empty());
            const auto at =
                corruption.error_at == ~std::size_t{0} ? corruption.change.at : corruption.error_at;
            if (corruption.error_at != ~std::size_t{1}) CHECK(error.offset == part + at);
        }
    }
}

TEST_CASE("records of version 3 have no place in version 2") {
    auto stream = build_stream();
    stream.bytes[stream.at.at("image") + 15] = std::byte{2};
    const auto back = read_all(stream.bytes);
    REQUIRE(back.errors.size() == 1);
    CHECK(back.errors.front().record == "X86_CPUID_POLICY");
    CHECK(back.errors.front().found == "a record of version 3");
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
