// The device model's blob of recorded Xen streams, and the same form made from other machines' state.
#include <algorithm>
#include <cstring>
#include <random>

#include <doctest/doctest.h>

#include "parsers/qemu/schema.hpp"
#include "tests/error_text.hpp"
#include "tests/parsers/qemu/support.hpp"

namespace vmferry::qemu {
namespace {

constexpr std::uint64_t base = 0x100000;

const std::vector<std::string>& blobs() {
    static const std::vector<std::string> names = {"xen-4.17-device-model.bin.zst",
                                                   "qemu-7.2/x2-xen-style-save.bin.zst"};
    return names;
}

Buffer e1000_blob() {
    return test::load_capture("xen-4.17-device-model.bin.zst");
}

/// The blob without its largest section, so that every byte of it can be tried.
Buffer small_blob() {
    auto tree = read_device_model(e1000_blob(), base);
    REQUIRE(tree);
    REQUIRE(tree->sections.back().idstr == "0000:00:03.0/e1000");
    tree->sections.pop_back();
    return write_device_model(*tree);
}

Section section(std::string idstr, std::uint32_t version, Buffer payload) {
    static std::uint32_t id = 100;
    Section out;
    out.section_id = id++;
    out.idstr = std::move(idstr);
    out.version = version;
    Field data;
    data.name = "data";
    data.data = std::move(payload);
    out.root.fields = {std::move(data)};
    return out;
}

Buffer blob_of(std::vector<Section> sections) {
    return write_device_model({std::move(sections)});
}

}  // namespace

TEST_CASE("a device model's blob is cut and written back unchanged") {
    for (const auto& name : blobs()) {
        CAPTURE(name);
        const auto blob = test::load_capture(name);
        const auto tree = read_device_model(blob, base);
        REQUIRE_MESSAGE(tree, vmferry::test::error_text(tree));
        CHECK(write_device_model(*tree) == blob);
        CHECK(tree->sections.front().offset == base + 8);
        std::uint64_t end = base + 8;
        for (const auto& each : tree->sections) {
            CHECK(each.offset == end);
            end = each.offset + 1 + 4 + 1 + each.idstr.size() + 8 + each.length;
        }
        CHECK(end == base + blob.size() - 1);
    }
}

TEST_CASE("the fields of Xen's device model are where they belong") {
    const auto tree = read_device_model(e1000_blob(), base);
    REQUIRE(tree);
    // Xen's device model is a 32-bit one; its machine has 128 PCI interrupt lines, one hot-plug selector.
    CHECK(tree->find("cpu", 1)->find("env.regs")->count == 8);
    CHECK(tree->find("cpu")->get("env.eip") == 0xfff0);
    CHECK(tree->find("apic", 1)->get("+apic_sipi|wait_for_sipi") == 1);
    CHECK(tree->find("PCIBUS")->find("irq_count")->count == 128);
    const auto* pm = tree->find_pci("piix4_pm").front();
    CHECK(pm->find("acpi_pci_hotplug.acpi_pcihp_pci_status[0x0]") != nullptr);
    CHECK(pm->find("acpi_pci_hotplug.acpi_index") == nullptr);
    CHECK(pm->get("parent_obj|version_id") == 2);
    const auto* ide = tree->find_pci("ide").front();
    CHECK(ide->find("bus[0].ifs")->count == 2);
    CHECK(ide->get("bus[0].ifs|0|identify_set") == 1);
    CHECK(ide->find("bus[0].ifs|0|identify_data")->data.size() == 512);
    CHECK(ide->find("bus[1].ifs|0|identify_data") == nullptr);
    const auto* nic = tree->find_pci("e1000").front();
    const auto ethernet = nic->bytes("parent_obj|config[0]");
    REQUIRE(ethernet);
    CHECK(load_le<std::uint32_t>(*ethernet) == 0x100e8086);
    CHECK(nic->get("eeprom_data|0") == 0x1600);  // 00:16:3e:…
    CHECK(nic->subsection("e1000/tx_tso_state") != nullptr);
}

TEST_CASE("bytes after EOF are tolerated, unless they show that it was none") {
    const auto blob = small_blob();
    auto rest = blob;
    for (int i = 0; i < 300; ++i) rest.push_back(static_cast<std::byte>(i * 7));
    const auto tolerated = read_device_model(rest, base);
    REQUIRE(tolerated);
    CHECK(write_device_model(*tolerated) == blob);
    CHECK(tolerated->rest == 300);

    auto longer = blob;
    write_section_head(longer, section("pcspk", 1, {}));
    longer.resize(longer.size() + 3);
    const auto refused = read_device_model(longer, base);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().record.find("cirrus_vga") != std::string::npos);
    CHECK(refused.error().hint.find("qemu-save") != std::string::npos);
}

TEST_CASE("a description after EOF is skipped, and is a rest where it does not fill the blob") {
    const auto blob = small_blob();
    auto described = blob;
    write_description(described, R"({"devices":[{"name":"cpu","instance_id":0}]})");
    const auto tree = read_device_model(described, base);
    REQUIRE_MESSAGE(tree, vmferry::test::error_text(tree));
    CHECK(tree->rest == 0);
    CHECK(write_device_model(*tree) == blob);

    const auto rest_of = [](const Buffer& bytes) {
        const auto read = read_device_model(bytes, base);
        REQUIRE_MESSAGE(read, vmferry::test::error_text(read));
        return read->rest;
    };
    const auto size = described.size() - blob.size();
    auto longer = described;
    longer.push_back(std::byte{0});
    CHECK(rest_of(longer) == size + 1);
    auto shorter = described;
    shorter.pop_back();
    CHECK(rest_of(shorter) == size - 1);
    auto no_json = described;
    no_json.back() = std::byte{'!'};
    CHECK(rest_of(no_json) == size);
    auto only_head = blob;
    write_description(only_head, "");
    CHECK(rest_of(only_head) == 5);
}

TEST_CASE("a blob that ends anywhere before its EOF is an error") {
    const auto blob = small_blob();
    const auto whole_tree = read_device_model(blob, base);
    REQUIRE(whole_tree);
    CHECK(whole_tree->rest == 0);
    const auto near_a_head = [&](std::size_t size) {
        return std::ranges::any_of(whole_tree->sections, [&](const Section& each) {
            const auto start = each.offset - base;
            return size + 2 >= start && size < start + 30;
        });
    };
    for (std::size_t size = 0; size < blob.size(); ++size) {
        if (!near_a_head(size) && size % 97 != 0) continue;
        const auto tree = read_device_model(Bytes(blob).first(size), base);
        CAPTURE(size);
        REQUIRE_FALSE(tree);
        CHECK(tree.error().kind == ErrorKind::stream);
        CHECK(tree.error().offset <= base + size);
    }
    const auto whole = e1000_blob();
    std::mt19937 random(17);
    for (int i = 0; i < 1000; ++i) {
        const auto size = random() % whole.size();
        CAPTURE(size);
        const auto tree = read_device_model(Bytes(whole).first(size), base);
        REQUIRE_FALSE(tree);
        CHECK(tree.error().kind == ErrorKind::stream);
        CHECK(tree.error().format == "qemu");
        CHECK_FALSE(tree.error().record.empty());
        CHECK_FALSE(tree.error().field.empty());
        CHECK(tree.error().offset <= base + size);
    }
}

TEST_CASE("a byte too many or too few in any section is noticed") {
    const auto blob = small_blob();
    const auto tree = read_device_model(blob, base);
    REQUIRE(tree);
    for (const auto& each : tree->sections) {
        const auto start = each.offset - base + 1 + 4 + 1 + each.idstr.size() + 8;
        for (const std::size_t delta : {std::size_t{0}, std::size_t{each.length - 1}}) {
            CAPTURE(each.idstr);
            CAPTURE(delta);
            auto fewer = blob;
            fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(start + delta));
            const auto after_erase = read_device_model(fewer, base);
            CHECK_FALSE(after_erase);
            auto more = blob;
            more.insert(more.begin() + static_cast<std::ptrdiff_t>(start + delta), std::byte{0x5a});
            const auto after_insert = read_device_model(more, base);
            // Behind the very last field, where a 00 follows, it could as well be the rest of an older file.
            CHECK((!after_insert || after_insert->rest > 0));
            if (!after_insert) CHECK(after_insert.error().offset >= each.offset);
        }
    }
}

TEST_CASE("what is no device model's blob") {
    CHECK(read_device_model({}, base).error().field == "magic");
    CHECK(read_device_model(as_bytes("QEVM"), base).error().field == "magic");
    Buffer other;
    append_be(other, std::uint32_t{0x5145564d});
    append_be(other, std::uint32_t{2});
    CHECK(read_device_model(other, base).error().field == "version");
    // A whole stream begins with CONFIGURATION.
    const auto stream = test::build_stream();
    const auto wrong = read_device_model(stream.bytes, base);
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().record == "section head");
    CHECK(wrong.error().offset == base + 8);
}

TEST_CASE("a device without a schema is named") {
    const auto blob =
        blob_of({section("port92", 1, {std::byte{0}}), section("0000:00:05.0/nvme", 1, Buffer(700))});
    const auto tree = read_device_model(blob, base);
    REQUIRE_FALSE(tree);
    CHECK(tree.error().record == "section 0000:00:05.0/nvme instance 0 version 1");
    CHECK(tree.error().field == "idstr");
}

TEST_CASE("a section that comes twice is an error") {
    const auto blob = blob_of({section("port92", 1, {std::byte{0}}), section("port92", 1, {std::byte{0}})});
    const auto tree = read_device_model(blob, base);
    REQUIRE_FALSE(tree);
    CHECK(tree.error().found == "the same section twice");
}

TEST_CASE("an unknown subsection is named, not skipped") {
    auto payload = Buffer(11);
    append(payload, std::string_view("\x05\x0bserial/more\0\0\0\1", 17));
    const auto tree = read_device_model(blob_of({section("serial", 3, payload)}), base);
    REQUIRE_FALSE(tree);
    CHECK(tree.error().field == "state|+serial/more");
    CHECK(tree.error().found == "an unknown subsection");
}

TEST_CASE("payload that begins like a subsection is payload") {
    // port92's only byte is 05, a subsection's mark, and so is i2c_bus's.
    const auto blob = blob_of({section("port92", 1, {std::byte{5}}), section("i2c_bus", 1, {std::byte{5}})});
    const auto tree = read_device_model(blob, base);
    REQUIRE(tree);
    CHECK(tree->sections[0].get("outport") == 5);
    CHECK(write_device_model(*tree) == blob);
}

TEST_CASE("bytes that fit two layouts are refused, never guessed") {
    // piix4_pm without SMBus state (312 bytes), then sections made so that 48 bytes further on, where the
    // layout with SMBus state would end, there is a section head again.
    const auto blob =
        blob_of({section("0000:00:01.3/piix4_pm", 3, Buffer(312)), section("port92", 1, Buffer(1)),
                 section("pckbd/port92", 1, Buffer(1)), section("i2c_bus", 1, Buffer(1))});
    const auto tree = read_device_model(blob, base);
    REQUIRE_FALSE(tree);
    CHECK(tree.error().record == "section 0000:00:01.3/piix4_pm instance 0 version 3");
    CHECK(tree.error().field == "layout");
}

TEST_CASE("possible CPUs, whose number is not in the stream, are counted by what fits") {
    auto tree = read_device_model(small_blob(), base);
    REQUIRE(tree);
    auto* pm = tree->find("0000:00:01.3/piix4_pm");
    REQUIRE(pm);
    for (const std::uint32_t cpus : {1u, 2u, 255u}) {
        auto with = *tree;
        Field payload;
        payload.name = "raw";
        payload.data = Buffer(5 + 10 * std::size_t{cpus});
        with.find("0000:00:01.3/piix4_pm")
            ->root.subsections.push_back({.vmsd_name = "piix4_pm/cpuhp", .version = 1, .fields = {payload}});
        const auto back = read_device_model(write_device_model(with), base);
        REQUIRE_MESSAGE(back, vmferry::test::error_text(back));
        const auto* devices = back->find("0000:00:01.3/piix4_pm")->find("+piix4_pm/cpuhp|cpuhp_state|devs");
        REQUIRE(devices);
        CHECK(devices->count == cpus);
    }
}

TEST_CASE("the schemas agree with QEMU's own descriptions of recorded machines") {
    // 10.0 renamed the count, and the type of AHCI's number of ports.
    const std::vector<std::string> renamed = {"num_timers_save", "ports"};
    std::size_t compared = 0;
    for (const auto& name : test::good_captures()) {
        CAPTURE(name);
        const auto snapshot = read_snapshot(test::load_capture(name));
        REQUIRE(snapshot);
        DeviceTree known;
        for (const auto& each : snapshot->tree.sections)
            if (schema::find_section(each.idstr)) known.sections.push_back(each);
        CHECK(known.sections.size() >= 25);
        const auto cut = read_device_model(write_device_model(known), base);
        REQUIRE_MESSAGE(cut, vmferry::test::error_text(cut));
        REQUIRE(cut->sections.size() == known.sections.size());
        for (std::size_t i = 0; i < known.sections.size(); ++i) {
            CHECK(test::difference(known.sections[i].root, cut->sections[i].root, renamed) == "");
            ++compared;
        }
    }
    CHECK(compared > 350);
}

}  // namespace vmferry::qemu
