// Corruptions of the domain's configuration: text that is not JSON, and JSON that says what no domain can be.
#include <optional>

#include <doctest/doctest.h>

#include "tests/translators/plan_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

/// `to` replaces the first `from` of the recorded guest's configuration.
struct Corruption {
    const char* name;
    std::string from;
    std::string to;
    const char* field;
    std::string found;
    std::string expected;
    /// Bytes into `to` where the text stops to be JSON. Otherwise the error stands at the text's beginning,
    /// and the field is the way to the value.
    std::optional<std::size_t> at = {};
};

constexpr auto no_json = "text that is not JSON";
constexpr auto like_libxl = "a JSON object as libxl writes it";
constexpr auto a_name = "a name of 1 to 128 bytes without control characters and '/'";
constexpr auto a_kib = "a whole number of at most 17179869184";
constexpr auto a_vcpu = "a whole number of at most 4096";
constexpr auto a_drive = "a device name such as \"hda\"";

std::string repeated(std::size_t times, std::string_view text) {
    std::string all;
    for (std::size_t i = 0; i < times; ++i) all += text;
    return all;
}

const std::vector<Corruption>& corruptions() {
    const std::string memory = R"("max_memkb": 98304)", vcpus = R"("max_vcpus": 2)", name = R"("g2")",
                      hpet = R"("hpet": "False")", drive = R"("vdev": "hda")",
                      mac = R"("mac": "00:16:3E:11:22:33")", devid = R"("devid": 0)",
                      uuid = R"("3DB11E84-712c-4a51-99e4-347199d61911")";
    const auto with = [](std::string_view key, std::string_view value) {
        return fmt::format(R"("{}": {})", key, value);
    };
    static const std::vector<Corruption> table = {
        // ---- the text ----
        {"no JSON", "{", "<", "text", no_json, like_libxl, 0},
        {"a list", "{", "[{}]{", "text", no_json, like_libxl, 4},
        {"a comment", "{", "{/**/", "text", no_json, like_libxl, 1},
        {"a trailing comma", hpet, hpet + ",,", "text", no_json, like_libxl, hpet.size() + 1},
        {"an unquoted key", memory, "max_memkb: 98304", "text", no_json, like_libxl, 0},
        {"a number that is none", memory, with("max_memkb", "NaN"), "text", no_json, like_libxl, 13},
        {"a number in hexadecimal", memory, with("max_memkb", "0x18000"), "text", no_json, like_libxl, 14},
        {"half of a surrogate pair", name, R"("\ud800")", "text", no_json, like_libxl, 7},
        {"a name that is not UTF-8", name, "\"\xff\"", "text", no_json, like_libxl, 1},
        {"an overlong form of '/'", name, "\"\xc0\xaf\"", "text", no_json, like_libxl, 1},
        {"a control character in a text", name, "\"g\n2\"", "text", no_json, like_libxl, 2},
        {"a second object behind the first", "\"soft_reset\"\n}", "\"soft_reset\"\n}{}", "text", no_json,
         like_libxl, 14},
        {"a number beyond all bounds", memory, with("max_memkb", "1e999"), "text",
         "number overflow parsing '1e999'", like_libxl},
        {"a hundred thousand lists in each other", hpet, R"("x": )" + repeated(100'000, "["), "nesting",
         "lists and objects 33 deep", "at most 32"},
        {"a hundred thousand objects in each other", hpet, repeated(100'000, R"("x": {)"), "nesting",
         "lists and objects 33 deep", "at most 32"},
        {"more text than any configuration has", hpet, hpet + repeated(5u << 20, " "), "size",
         "5244510 bytes", "at most 4194304"},
        {"a key twice", vcpus, vcpus + ", " + with("max_vcpus", "3"), R"("max_vcpus")",
         "the same key twice in one object", "each key once"},
        {"a key twice that is nobody's", hpet, hpet + R"(, "x": {"y": 1, "y": 1})", R"("y")",
         "the same key twice in one object", "each key once"},
        // ---- the domain ----
        {"no c_info", "\"c_info\"", "\"c\"", "c_info.type", "none", "\"hvm\", \"pv\" or \"pvh\""},
        {"c_info is a list", "\"c_info\": {", "\"c_info\": [], \"c\": {", "c_info", "a list", "an object"},
        {"a domain of no type", "\"hvm\"", "\"arm\"", "c_info.type", "\"arm\"", "\"hvm\", \"pv\" or \"pvh\""},
        {"a type that is a number", "\"hvm\"", "2", "c_info.type", "2", "a text"},
        {"no name", "\"name\": \"g2\",", "", "c_info.name", "none", a_name},
        {"an empty name", name, "\"\"", "c_info.name", "none", a_name},
        {"a name that leads elsewhere", name, R"("../../etc/shadow")", "c_info.name", R"("../../etc/shadow")",
         a_name},
        {"a name that is a directory", name, "\"..\"", "c_info.name", "\"..\"", a_name},
        {"a name with a NUL", name, R"("g\u00002")", "c_info.name", R"("g\u00002")", a_name},
        {"a name with a line break", name, R"("g\n2")", "c_info.name", R"("g\n2")", a_name},
        {"a name that steers the terminal", name, R"("\u001b[2J")", "c_info.name", R"("\u001b[2J")", a_name},
        {"a name of 129 bytes", name, '"' + repeated(129, "x") + '"', "c_info.name",
         '"' + repeated(79, "x") + "…", a_name},
        {"a name that is a number", name, "5", "c_info.name", "5", "a text"},
        {"a UUID without a separator", uuid, R"("3DB11E84712c4a5199e4347199d61911")", "c_info.uuid",
         R"("3DB11E84712c4a5199e4347199d61911")", "a UUID"},
        {"a UUID with a letter too many", uuid, R"("3DB11E84-712c-4a51-99e4-347199d619112")", "c_info.uuid",
         R"("3DB11E84-712c-4a51-99e4-347199d619112")", "a UUID"},
        {"a UUID that is none", uuid, R"("zDB11E84-712c-4a51-99e4-347199d61911")", "c_info.uuid",
         R"("zDB11E84-712c-4a51-99e4-347199d61911")", "a UUID"},
        {"a UUID that is a list", uuid, "[61, 177]", "c_info.uuid", "a list", "a text"},
        // ---- the build ----
        {"no b_info", "\"b_info\"", "\"b\"", "b_info.type.hvm", "none", "the HVM part"},
        {"the part of another type", "\"type.hvm\"", "\"type.pv\"", "b_info.type.hvm", "none",
         "the HVM part"},
        {"an HVM part that is a text", "\"type.hvm\": {", R"("type.hvm": "", "x": {)", "b_info.type.hvm",
         "\"\"", "an object"},
        {"no vCPU", vcpus, with("max_vcpus", "0"), "b_info.max_vcpus", "0", "at least 1"},
        {"5000 vCPUs", vcpus, with("max_vcpus", "5000"), "b_info.max_vcpus", "5000", a_vcpu},
        {"minus one vCPU", vcpus, with("max_vcpus", "-1"), "b_info.max_vcpus", "-1", a_vcpu},
        {"one and a half vCPUs", vcpus, with("max_vcpus", "1.5"), "b_info.max_vcpus", "1.5", a_vcpu},
        {"vCPUs in words", vcpus, with("max_vcpus", "\"2\""), "b_info.max_vcpus", "\"2\"", a_vcpu},
        {"vCPUs that are true", vcpus, with("max_vcpus", "true"), "b_info.max_vcpus", "true", a_vcpu},
        {"an online vCPU of number -1", "            0,\n", "-1,", "b_info.avail_vcpus", "-1", a_vcpu},
        {"an online vCPU beyond all", "            0,\n", "4097,", "b_info.avail_vcpus", "4097", a_vcpu},
        {"5000 online vCPUs", "            0,\n", repeated(4999, "0,"), "b_info.avail_vcpus", "5000 items",
         "at most 4096"},
        {"negative memory", memory, with("max_memkb", "-98304"), "b_info.max_memkb", "-98304", a_kib},
        {"memory of half a KiB", memory, with("max_memkb", "0.5"), "b_info.max_memkb", "0.5", a_kib},
        {"more than 16 TiB", memory, with("max_memkb", "17179869185"), "b_info.max_memkb", "17179869185",
         a_kib},
        {"memory of 2^64 - 1 KiB", memory, with("max_memkb", "18446744073709551615"), "b_info.max_memkb",
         "18446744073709551615", a_kib},
        {"memory of 2^64 KiB", memory, with("max_memkb", "18446744073709551616"), "b_info.max_memkb",
         "1.8446744073709552e+19", a_kib},
        {"memory in words", memory, with("max_memkb", "\"96M\""), "b_info.max_memkb", "\"96M\"", a_kib},
        {"no memory besides the display's", memory, with("max_memkb", "8192"), "b_info.max_memkb", "8192",
         "more than video_memkb (8192)"},
        {"an x86 part that is a text", R"("arch_x86": {)", R"("arch_x86": "x", "x": {)", "b_info.arch_x86",
         "\"x\"", "an object"},
        {"a TSC mode that is a number", memory, memory + R"(, "tsc_mode": 3)", "b_info.tsc_mode", "3",
         "a text"},
        {"MSRs as the guest likes", R"("msr_relaxed": "False")", R"("msr_relaxed": "a bit")",
         "b_info.arch_x86.msr_relaxed", "\"a bit\"", "\"True\", \"False\" or \"<default>\""},
        {"no memory", memory, with("max_memkb", "0"), "b_info.max_memkb", "0",
         "more than video_memkb (8192)"},
        {"negative video memory", R"("video_memkb": 8192)", R"("video_memkb": -1)", "b_info.video_memkb",
         "-1", a_kib},
        {"an MMIO hole of more than 4 GiB", hpet, hpet + R"(, "mmio_hole_memkb": 4194305)",
         "b_info.type.hvm.mmio_hole_memkb", "4194305", "a whole number of at most 4194304"},
        {"a flag in other words", hpet, with("hpet", "\"no\""), "b_info.type.hvm.hpet", "\"no\"",
         R"("True", "False" or "<default>")"},
        {"a flag of 2", hpet, with("hpet", "2"), "b_info.type.hvm.hpet", "2",
         R"("True", "False" or "<default>")"},
        {"USB 4", hpet, hpet + R"(, "usbversion": 4)", "b_info.type.hvm.usbversion", "4",
         "a whole number of at most 3"},
        {"a display that is a number", "\"cirrus\"", "7", "b_info.type.hvm.vga.kind", "7", "a text"},
        {"a serial port of 70,000 bytes", "\"file:/root/guest/g2.log\"", '"' + repeated(70'000, "x") + '"',
         "b_info.type.hvm.serial", "70000 bytes", "at most 65536"},
        // ---- devices ----
        {"disks that are an object", "\"disks\": [", R"("disks": {}, "x": [)", "disks", "an object",
         "a list"},
        {"a disk that is a number", "\"disks\": [", "\"disks\": [1, ", "disks[0]", "1", "an object"},
        {"a disk without a name", drive, R"("x": 1)", "disks[0].vdev", "\"\"", a_drive},
        {"a disk that is a path", drive, R"("vdev": "/dev/hda")", "disks[0].vdev", "\"/dev/hda\"", a_drive},
        {"a disk that brings options", drive, R"("vdev": "hda,readonly=on")", "disks[0].vdev",
         "\"hda,readonly=on\"", a_drive},
        {"a drive twice", "\"disks\": [", R"("disks": [{"vdev": "hda"}, )", "disks[1].vdev", "hda twice",
         "each drive once"},
        {"5000 disks", "\"disks\": [", "\"disks\": [" + repeated(4999, "0,"), "disks", "5000 items",
         "at most 4096"},
        {"a MAC address of five bytes", mac, R"("mac": "00:16:3E:11:22")", "nics[0].mac",
         "\"00:16:3E:11:22\"", "a MAC address"},
        {"no MAC address", mac + ",", "", "nics[0].mac", "none", "a MAC address"},
        {"card number 300", devid, with("devid", "300"), "nics[0].devid", "300",
         "a whole number of at most 255"},
        {"card number -1", devid, with("devid", "-1"), "nics[0].devid", "-1",
         "a whole number of at most 255"},
        {"a card number twice", "\"nics\": [", R"("nics": [{"devid": 0, "mac": "00:16:3e:00:00:01"}, )",
         "nics[1].devid", "0 twice", "each number once"},
        {"a card's model that is a list", "\"e1000\"", "[\"e1000\"]", "nics[0].model", "a list", "a text"},
    };
    return table;
}

}  // namespace

TEST_CASE("corruptions of the domain's configuration") {
    constexpr std::uint64_t offset = 52;  // where an xl header has it
    for (const auto& row : corruptions()) {
        CAPTURE(std::string(row.name));
        const auto config = read_domain_config(guest_json(row.from, row.to), offset);
        REQUIRE_FALSE(config);
        const auto& error = config.error();
        CHECK(error.kind == ErrorKind::stream);
        CHECK(error.format == "xl config");
        CHECK(error.record == "JSON");
        CHECK(error.field == row.field);
        CHECK(error.offset == offset + (row.at ? guest_json().find(row.from) + *row.at : 0));
        CHECK(error.found == row.found);
        CHECK(error.expected == row.expected);
        // What is shown of the stream cannot steer a terminal, and stays one line.
        for (const char c : error.text()) CHECK(static_cast<unsigned char>(c) >= 0x20);
        CHECK(error.text().size() < 400);
    }
    CHECK(corruptions().size() >= 60);
}
