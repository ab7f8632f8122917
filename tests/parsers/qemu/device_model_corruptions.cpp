// Corruptions of the device model's blob: section heads, versions, counts and values.
#include <algorithm>
#include <functional>

#include <doctest/doctest.h>

#include "tests/parsers/qemu/support.hpp"

namespace vmferry::qemu {
namespace {

using namespace std::string_literals;

constexpr std::uint64_t base = 0x100000;

/// Spoils one section of a decoded blob, or the bytes that it is written as.
struct Change {
    std::function<void(Section&)> in_tree = [](Section&) {};
    std::size_t at = 0;  ///< in the section, its head included
    std::string bytes = {};
};
Change value(std::string path, std::uint64_t to) {
    return {.in_tree = [path = std::move(path), to](Section& section) { REQUIRE(section.set(path, to)); }};
}
Change version(std::uint32_t to) {
    return {.in_tree = [to](Section& section) { section.version = to; }};
}
/// 04 · be32 id · u8 n · n bytes of idstr · be32 instance · be32 version
Change head(std::size_t at, std::string bytes) {
    return {.at = at, .bytes = std::move(bytes)};
}

struct Corruption {
    const char* name;
    const char* idstr;
    std::uint32_t instance;
    Change change;
    const char* record;
    const char* field;
    std::size_t at;  ///< of the error, behind the beginning of the section
    const char* found;
    const char* expected;
};

const std::vector<Corruption>& corruptions() {
    static const std::vector<Corruption> table = {
        {"cpu of version 13", "cpu", 0, version(13), "section cpu instance 0 version 13", "version", 13, "13",
         "12"},
        {"cpu of version 11, without XSAVE state", "cpu", 0, version(11), "section cpu instance 0 version 11",
         "version", 13, "11", "12"},
        {"mc146818rtc of version 4", "mc146818rtc", 0, version(4), "section mc146818rtc instance 0 version 4",
         "version", 21, "4", "3"},
        {"I440FX of version 2", "0000:00:00.0/I440FX", 0, version(2),
         "section 0000:00:00.0/I440FX instance 0 version 2", "version", 29, "2", "3"},
        {"PIIX3 of version 9", "0000:00:01.0/PIIX3", 0, version(9),
         "section 0000:00:01.0/PIIX3 instance 0 version 9", "version", 28, "9", "3"},
        {"IDE of version 4", "0000:00:01.1/ide", 0, version(4),
         "section 0000:00:01.1/ide instance 0 version 4", "version", 26, "4", "3"},
        {"IDE of version 2", "0000:00:01.1/ide", 0, version(2),
         "section 0000:00:01.1/ide instance 0 version 2", "version", 26, "2", "3"},
        {"serial port of version 4", "serial", 0, version(4), "section serial instance 0 version 4",
         "version", 16, "4", "3"},
        {"serial port of version 0", "serial", 0, version(0), "section serial instance 0 version 0",
         "version", 16, "0", "3"},
        {"cirrus of version 3", "0000:00:02.0/cirrus_vga", 0, version(3),
         "section 0000:00:02.0/cirrus_vga instance 0 version 3", "version", 33, "3", "2"},
        {"e1000 of version 4", "0000:00:03.0/e1000", 0, version(4),
         "section 0000:00:03.0/e1000 instance 0 version 4", "version", 28, "4", "2"},
        {"floppy controller of version 3", "fdc", 0, version(3), "section fdc instance 0 version 3",
         "version", 13, "3", "2"},
        {"timers of version 3", "timer", 0, version(3), "section timer instance 0 version 3", "version", 15,
         "3", "2"},
        {"PCI device of version 3", "0000:00:01.0/PIIX3", 0, value("dev|version_id", 3),
         "section 0000:00:01.0/PIIX3 instance 0 version 3", "dev|version_id", 32, "3", "0 to 2"},
        {"network card's PCI device of version 9", "0000:00:03.0/e1000", 0, value("parent_obj|version_id", 9),
         "section 0000:00:03.0/e1000 instance 0 version 2", "parent_obj|version_id", 32, "9", "0 to 2"},
        {"2^31 PCI interrupt lines", "PCIBUS", 0, value("nirq", 0x80000000),
         "section PCIBUS instance 0 version 1", "nirq", 20, "2147483648", "0 to 1024"},
        {"2^32 - 1 PCI interrupt lines", "PCIBUS", 0, value("nirq", 0xffffffff),
         "section PCIBUS instance 0 version 1", "nirq", 20, "4294967295", "0 to 1024"},
        {"one PCI interrupt line less", "PCIBUS", 0, value("nirq", 127),
         "section PCIBUS instance 0 version 1", "after irq_count", 532,
         "bytes 00 00 00 00 04 00 00 00 0c 13 30 30, and sections further on",
         "a section head or EOF (00) at the end"},
        {"no PCI interrupt line", "PCIBUS", 0, value("nirq", 0), "section PCIBUS instance 0 version 1",
         "after nirq", 24, "bytes 00 00 00 00 00 00 00 00 00 00 00 00, and sections further on",
         "a section head or EOF (00) at the end"},
        {"HPET with 2 timers", "hpet", 0, value("num_timers", 2), "section hpet instance 0 version 2",
         "num_timers", 42, "2", "3 to 32"},
        {"HPET with 32 timers", "hpet", 0, value("num_timers", 32), "section hpet instance 0 version 2",
         "after timer", 1387, "bytes 00 16 08 70 73 32 6d 6f 75 73 65 00, and sections further on",
         "a section head or EOF (00) at the end"},
        {"HPET with 255 timers", "hpet", 0, value("num_timers", 255), "section hpet instance 0 version 2",
         "num_timers", 42, "255", "3 to 32"},
        {"three floppy drives", "fdc", 0, value("state|num_floppies", 3), "section fdc instance 0 version 2",
         "state|num_floppies", 555, "3", "2"},
        {"drive without its identify data", "0000:00:01.1/ide", 0, value("bus[0].ifs|0|identify_set", 0),
         "section 0000:00:01.1/ide instance 0 version 3", "bus[0].ifs|1|identify_set", 380, "808460337",
         "0 to 1"},
        {"drive with identify data it has not", "0000:00:01.1/ide", 0, value("bus[1].ifs|1|identify_set", 1),
         "section 0000:00:01.1/ide instance 0 version 3", "after bus[1].ifs", 1484,
         "bytes 00 00 00 00 00 00 00 00 00 00 00 00, and sections further on",
         "a section head or EOF (00) at the end"},
        {"a bool of 2", "0000:00:01.3/piix4_pm", 0, value("smb|op_done", 2),
         "section 0000:00:01.3/piix4_pm instance 0 version 3", "smb|op_done", 364, "2", "0 to 1"},
        {"the name of an unknown device", "serial", 0, head(6, "x"s), "section xerial instance 0 version 3",
         "idstr", 0, "a device that this version has no layout for", "a known device"},
        {"a name in capitals", "serial", 0, head(6, "SERIAL"s), "section SERIAL instance 0 version 3",
         "idstr", 0, "a device that this version has no layout for", "a known device"},
        {"another device's name", "serial", 0, head(6, "port92"s), "section port92 instance 0 version 3",
         "version", 16, "3", "1"},
        {"a name with a control character", "serial", 0, head(7, "\x01"s),
         "section mc146818rtc instance 0 version 3", "after next_alarm_time", 0,
         "bytes 04 00 00 00 13 06 73 01 72 69 61 6c", "a section head or EOF (00) at the end"},
        {"a name of 255 bytes", "serial", 0, head(5, "\xff"s), "section mc146818rtc instance 0 version 3",
         "after next_alarm_time", 0, "bytes 04 00 00 00 13 ff 73 65 72 69 61 6c",
         "a section head or EOF (00) at the end"},
        {"a name of no bytes", "serial", 0, head(5, "\0"s), "section mc146818rtc instance 0 version 3",
         "after next_alarm_time", 0, "bytes 04 00 00 00 13 00 73 65 72 69 61 6c",
         "a section head or EOF (00) at the end"},
        {"a type that is none", "serial", 0, head(0, "\x06"s), "section mc146818rtc instance 0 version 3",
         "after next_alarm_time", 0, "bytes 06 00 00 00 13 06 73 65 72 69 61 6c",
         "a section head or EOF (00) at the end"},
        {"a section with a PART's type", "serial", 0, head(0, "\x02"s),
         "section mc146818rtc instance 0 version 3", "after next_alarm_time", 0,
         "bytes 02 00 00 00 13 06 73 65 72 69 61 6c", "a section head or EOF (00) at the end"},
        {"instance 2^32 - 1", "serial", 0, head(12, "\xff\xff\xff\xff"s),
         "section mc146818rtc instance 0 version 3", "after next_alarm_time", 0,
         "bytes 04 00 00 00 13 06 73 65 72 69 61 6c", "a section head or EOF (00) at the end"},
        {"version 2^32 - 1", "serial", 0, head(16, "\xff\xff\xff\xff"s),
         "section mc146818rtc instance 0 version 3", "after next_alarm_time", 0,
         "bytes 04 00 00 00 13 06 73 65 72 69 61 6c", "a section head or EOF (00) at the end"},
        {"the same CPU twice", "cpu", 1, head(9, "\0\0\0\0"s), "section cpu instance 0 version 12", "idstr",
         0, "the same section twice", "each once"},
        {"EOF in the middle", "serial", 0, head(0, "\0"s), "section mc146818rtc instance 0 version 3",
         "after next_alarm_time", 0, "bytes 00 00 00 00 13 06 73 65 72 69 61 6c, and sections further on",
         "a section head or EOF (00) at the end"},
        {"first: a type that is none", "timer", 0, head(0, "\x06"s), "section head", "type", 0,
         "bytes 06 00 00 00 00 05 74 69 6d 65 72 00", "a section or EOF (00)"},
        {"first: section 2^32 - 1", "timer", 0, head(1, "\xff\xff\xff\xff"s), "section head", "section_id", 1,
         "4294967295", "at most 65535"},
        {"first: a name of 255 bytes", "timer", 0, head(5, "\xff"s), "section head", "idstr", 6,
         "bytes 74 69 6d 65 72 00 00 00 00 00 00 00", "the name of a device"},
        {"first: a name of no bytes", "timer", 0, head(5, "\0"s), "section head", "idstr", 6,
         "bytes 74 69 6d 65 72 00 00 00 00 00 00 00", "the name of a device"},
        {"first: a name that is none", "timer", 0, head(6, "\x7f"s), "section head", "idstr", 6,
         "bytes 7f 69 6d 65 72 00 00 00 00 00 00 00", "the name of a device"},
        {"first: instance 2^31", "timer", 0, head(11, "\x80"s), "section head", "instance_id", 11,
         "2147483648", "at most 65535"},
        {"first: version 2^32 - 1", "timer", 0, head(15, "\xff\xff\xff\xff"s), "section head", "version_id",
         15, "4294967295", "at most 268435455"},
    };
    return table;
}

Buffer corrupted(DeviceTree tree, const Corruption& row) {
    auto* section = tree.find(row.idstr, row.instance);
    REQUIRE(section);
    const auto start = section->offset - base;
    row.change.in_tree(*section);
    auto blob = write_device_model(tree);
    std::ranges::copy(as_bytes(row.change.bytes),
                      blob.begin() + static_cast<std::ptrdiff_t>(start + row.change.at));
    return blob;
}

}  // namespace

TEST_CASE("corruptions of a device model's blob") {
    const auto original = read_device_model(test::load_capture("xen-4.17-device-model.bin.zst"), base);
    REQUIRE(original);
    for (const auto& row : corruptions()) {
        CAPTURE(std::string(row.name));
        const auto back = read_device_model(corrupted(*original, row), base);
        REQUIRE_FALSE(back);
        const auto& error = back.error();
        CHECK(error.kind == ErrorKind::stream);
        CHECK(error.format == "qemu");
        CHECK(error.record == row.record);
        CHECK(error.field == row.field);
        CHECK(error.offset == original->find(row.idstr, row.instance)->offset + row.at);
        CHECK(error.found == row.found);
        CHECK(error.expected == row.expected);
    }
}

TEST_CASE("the first section's head, cut at every byte") {
    const auto blob = test::load_capture("xen-4.17-device-model.bin.zst");
    const auto first = read_device_model(blob, base)->sections.front();
    const auto head_end = 8 + 6 + first.idstr.size() + 8;
    for (std::size_t size = 9; size < head_end; ++size) {
        CAPTURE(size);
        const auto cut = read_device_model(Bytes(blob).first(size), base);
        REQUIRE_FALSE(cut);
        CHECK(cut.error().record == "section head");
        CHECK(cut.error().field == "size");
        CHECK(cut.error().found == fmt::format("the end of the blob after {} bytes", size - 8));
        CHECK(cut.error().offset == base + size);
    }
}

}  // namespace vmferry::qemu
