// The device model's blob, made from recorded streams of stock QEMUs and held against recorded blobs of
// Xen's.
#include "translators/xen/write_device_model.hpp"

#include <algorithm>
#include <set>

#include <doctest/doctest.h>

#include "parsers/qemu/snapshot.hpp"
#include "tests/error_text.hpp"
#include "tests/translators/machine_fixture.hpp"
#include "translators/devices.hpp"

using namespace vmferry;
using namespace vmferry::test;

namespace {

constexpr const char* xen_417 = "xen-4.17-linux-2vcpu-e1000-ide.up.zst";
constexpr const char* xen_420 = "xen-4.20-linux-2vcpu-e1000-ide.up.zst";

const qemu::DeviceTree& model_of(const char* name) {
    static std::map<std::string, qemu::DeviceTree> known;
    if (!known.contains(name)) known[name] = load_source(name).device_model;
    return known[name];
}

qemu::DeviceTree load_tree(const char* name) {
    auto snapshot = qemu::read_snapshot(load_capture(name));
    REQUIRE_MESSAGE(snapshot, error_text(snapshot));
    return std::move(snapshot->tree);
}

struct Written {
    qemu::DeviceTree tree;
    AuditReport audit;

    Written(const qemu::DeviceTree& source, const qemu::DeviceTree& model) {
        auto result = xen::write_device_model(source, model, audit);
        REQUIRE_MESSAGE(result, error_text(result));
        tree = std::move(*result);
    }
    [[nodiscard]] std::set<std::string> refused() const {
        std::set<std::string> texts;
        for (const auto& finding : audit.findings())
            if (finding.verdict == Verdict::refused) texts.insert(finding.rule + " " + finding.text);
        return texts;
    }
    [[nodiscard]] bool told(std::string_view words) const {
        return std::ranges::any_of(audit.findings(), [words](const Finding& finding) {
            return finding.verdict == Verdict::adapted && finding.text.contains(words);
        });
    }
};

std::set<std::string> names(const qemu::DeviceTree& tree) {
    std::set<std::string> all;
    for (const auto& section : tree.sections) all.insert(section.idstr);
    return all;
}

/// Where two structures differ in form or content; empty if nowhere.
std::string difference(const qemu::Struct& a, const qemu::Struct& b) {
    if (a.fields.size() != b.fields.size() || a.subsections.size() != b.subsections.size())
        return fmt::format("{}: {} fields and {} subsections, {} and {}", a.vmsd_name, a.fields.size(),
                           a.subsections.size(), b.fields.size(), b.subsections.size());
    for (std::size_t i = 0; i < a.fields.size(); ++i) {
        const auto &x = a.fields[i], &y = b.fields[i];
        if (x.name != y.name || x.count != y.count || x.size != y.size || x.data != y.data ||
            x.elements.size() != y.elements.size())
            return fmt::format("{}.{} / {}", a.vmsd_name, x.name, y.name);
        for (std::size_t k = 0; k < x.elements.size(); ++k)
            if (auto found = difference(x.elements[k], y.elements[k]); !found.empty()) return found;
    }
    for (std::size_t i = 0; i < a.subsections.size(); ++i) {
        if (a.subsections[i].vmsd_name != b.subsections[i].vmsd_name) return a.subsections[i].vmsd_name;
        if (auto found = difference(a.subsections[i], b.subsections[i]); !found.empty()) return found;
    }
    return {};
}

bool is_virtio(const qemu::Section& section) {
    return section.idstr.contains("/virtio-");
}

// What is written must be read again as Xen's own blob is, with the same fields.
void check_read_again(const qemu::DeviceTree& tree) {
    auto described = tree;
    std::erase_if(described.sections, is_virtio);
    const auto again = qemu::read_device_model(qemu::write_device_model(described), 0);
    REQUIRE_MESSAGE(again, error_text(again));
    REQUIRE(again->sections.size() == described.sections.size());
    for (std::size_t i = 0; i < described.sections.size(); ++i) {
        const auto &ours = described.sections[i], &theirs = again->sections[i];
        CAPTURE(ours.idstr);
        CHECK(ours.idstr == theirs.idstr);
        CHECK(ours.instance == theirs.instance);
        CHECK(ours.version == theirs.version);
        CHECK(difference(ours.root, theirs.root) == "");
    }
    for (std::size_t i = 0; i < tree.sections.size(); ++i) CHECK(tree.sections[i].section_id == i);
}

const std::set<std::string> board{"timer",
                                  "PCIHost",
                                  "PCIBUS",
                                  "0000:00:00.0/I440FX",
                                  "dma",
                                  "0000:00:01.0/PIIX3",
                                  "mc146818rtc",
                                  "fdc",
                                  "ps2kbd",
                                  "ps2mouse",
                                  "pckbd",
                                  "port92",
                                  "0000:00:01.1/ide",
                                  "i2c_bus",
                                  "0000:00:01.3/piix4_pm"};

std::set<std::string> with(std::set<std::string> set, const std::set<std::string>& more) {
    set.insert(more.begin(), more.end());
    return set;
}

}  // namespace

TEST_CASE("device model for Xen: recorded QEMUs of both accelerators and versions, for both Xens") {
    struct Case {
        const char* file;
        std::set<std::string> devices;
        std::set<std::string> refused;
    };
    const std::vector<Case> cases{
        {"qemu-7.2/q1-i440fx-S.bin.zst", {"0000:00:02.0/vga", "0000:00:03.0/e1000"}, {}},
        {"qemu-7.2/m1-tcp-plain-events.c0.s2d.zst", {}, {}},
        {"qemu-7.2/q12-i440fx-210-run.bin.zst", {"0000:00:02.0/vga", "0000:00:03.0/e1000"}, {}},
        {"qemu-7.2/q18-i440fx-smp6-sparse-apicid-S.bin.zst", {}, {}},
        {"qemu-7.2/q6-i440fx-nics-run.bin.zst",
         {"0000:00:02.0/cirrus_vga", "0000:00:03.0/e1000", "0000:00:04.0/e1000", "0000:00:05.0/rtl8139",
          "0000:00:06.0/virtio-net", "0000:00:07.0/virtio-blk"},
         {"device-left-out 0000:00:08.0/xhci", "device-left-out 0000:00:08.0/1/usb-ptr"}},
        {"qemu-10.0/tcg-i440fx-10.0.bin.zst",
         {"0000:00:02.0/vga", "0000:00:03.0/e1000", "0000:00:04.0/e1000", "0000:00:05.0/virtio-net"},
         {}},
        {"qemu-10.0/kvm-i440fx.bin.zst", {"0000:00:02.0/vga", "0000:00:03.0/e1000"}, {}},
        {"twins/tcg-7.2-2vcpu-cirrus-e1000-ide.zst",
         {"0000:00:02.0/cirrus_vga", "0000:00:03.0/e1000", "serial"},
         {}},
        {"twins/kvm-7.2-2vcpu-cirrus-e1000-ide.zst",
         {"0000:00:02.0/cirrus_vga", "0000:00:03.0/e1000", "serial"},
         {}}};
    for (const auto& one : cases)
        for (const auto* model : {xen_417, xen_420}) {
            CAPTURE(one.file);
            CAPTURE(model);
            const auto source = load_tree(one.file);
            const Written written(source, model_of(model));
            auto expected = with(board, one.devices);
            if (source.find("PCIHost") == nullptr) expected.erase("PCIHost");
            CHECK(names(written.tree) == expected);
            for (const auto& text : written.refused()) CHECK_MESSAGE(one.refused.contains(text), text);
            CHECK(written.refused().size() == one.refused.size());
            check_read_again(written.tree);
            // What is kept is the source's, byte for byte.
            for (const auto& section : written.tree.sections) {
                if (section.idstr == "PCIBUS" || section.idstr.ends_with("piix4_pm")) continue;
                CAPTURE(section.idstr);
                const auto* from = source.find(section.idstr, section.instance);
                REQUIRE(from != nullptr);
                CHECK(qemu::encode_payload(section) == qemu::encode_payload(*from));
            }
        }
}

TEST_CASE("device model for Xen: sections have the length of a recorded blob's") {
    for (const auto* model : {xen_417, xen_420}) {
        const Written written(load_tree("twins/tcg-7.2-2vcpu-cirrus-e1000-ide.zst"), model_of(model));
        unsigned compared = 0;
        for (const auto& section : written.tree.sections) {
            const auto* native = model_of(model).find(section.idstr, section.instance);
            // A drive that has been asked who it is sends the answer along.
            if (native == nullptr || section.idstr.ends_with("/ide")) continue;
            CAPTURE(section.idstr);
            CHECK(qemu::encode_payload(section).size() == native->length);
            CHECK(section.version == native->version);
            ++compared;
        }
        CHECK(compared == written.tree.sections.size() - 1);
    }
}

TEST_CASE("device model for Xen: each dropped section is named") {
    const Written kvm(load_tree("qemu-10.0/kvm-i440fx.bin.zst"), model_of(xen_420));
    for (const auto* name :
         {"slirp", "kvm-tpr-opt", "kvmclock", "fw_cfg", "acpi_build", "globalstate", "vmmouse"})
        CHECK(kvm.told(fmt::format("{} dropped: ", name)));
    const Written twin(load_tree("twins/tcg-7.2-2vcpu-cirrus-e1000-ide.zst"), model_of(xen_417));
    CHECK(twin.told("0000:00:1f.0/ivshmem-plain dropped: "));
    // What Xen's own records hold is not told of here.
    for (const auto* name : {"apic", "ioapic", "i8254", "cpu_common"})
        CHECK_FALSE(kvm.told(fmt::format("{} ", name)));
}

TEST_CASE("device model for Xen: piix4_pm keeps its common part and loses hot-plug") {
    auto source = load_tree("qemu-7.2/q22-i440fx-irq-run.bin.zst");
    const std::string name = "0000:00:01.3/piix4_pm";
    REQUIRE(source.find(name)->set("ar.pm1.cnt.cnt", 0x2001));
    REQUIRE(source.find(name)->set("ar.tmr.overflow_time", 0x123456789));
    const auto& native = *model_of(xen_417).find(name);
    {
        const Written written(source, model_of(xen_417));
        const auto payload = qemu::encode_payload(*written.tree.find(name));
        const auto stock = qemu::encode_payload(*source.find(name));
        REQUIRE(payload.size() == native.length);
        CHECK(std::ranges::equal(Bytes(payload).first(352), Bytes(stock).first(352)));
        CHECK(std::ranges::all_of(Bytes(payload).subspan(352, 8), [](auto b) { return b == std::byte{}; }));
        CHECK(written.told("piix4_pm: without ACPI hot-plug of PCI devices and processors"));
        CHECK_FALSE(written.told("under way"));
        CHECK(value(written.tree, name, "ar.pm1.cnt.cnt") == 0x2001);
    }
    // A machine type that does not send its SMBus controller: at rest in Xen's form.
    {
        const Written old(load_tree("qemu-7.2/q12-i440fx-210-run.bin.zst"), model_of(xen_417));
        CHECK(qemu::encode_payload(*old.tree.find(name)).size() == native.length);
        CHECK(value(old.tree, name, "smb|0|op_done") == 1);
        CHECK(value(old.tree, name, "smb|0|smb_stat") == 0);
    }
    REQUIRE(source.find(name)->set("acpi_pci_hotplug.acpi_pcihp_pci_status|0|up", 8));
    CHECK(Written(source, model_of(xen_417)).told("one that was under way is forgotten"));
}

TEST_CASE("device model for Xen: PCIBUS counts a wire for each slot and pin") {
    auto source = load_tree("qemu-7.2/q6-i440fx-nics-run.bin.zst");
    const auto counts = [&] {
        const Written written(source, model_of(xen_417));
        CHECK(value(written.tree, "PCIBUS", "nirq") == 128);
        std::map<unsigned, std::uint64_t> set;
        for (unsigned wire = 0; wire < 128; ++wire)
            if (const auto count = value(written.tree, "PCIBUS", fmt::format("irq_count|{}", wire));
                count != 0)
                set[wire] = count;
        return set;
    };
    CHECK(counts().empty());
    assert_interrupt(source, "0000:00:04.0/e1000");
    CHECK(counts() == std::map<unsigned, std::uint64_t>{{16, 1}});
    // virtio-blk at 07: INTA# in its opaque section.
    auto& opaque = source.find("0000:00:07.0/virtio-blk")->root.fields.front().data;
    opaque.at(263) = std::byte{1};
    CHECK(counts() == std::map<unsigned, std::uint64_t>{{16, 1}, {28, 1}});
    const auto device = pci_device(*source.find("0000:00:07.0/virtio-blk"));
    REQUIRE(device.has_value());
    CHECK(device->byte(0) == 0xF4);
    CHECK(device->byte(1) == 0x1A);
    CHECK(device->asserted[0]);
}

TEST_CASE("device model for Xen: what a domain cannot load is refused by name") {
    const auto source = load_tree("qemu-7.2/q6-i440fx-nics-run.bin.zst");
    const auto refused = [&](auto change) {
        auto changed = source;
        std::erase_if(changed.sections,
                      [](const auto& section) { return section.idstr.starts_with("0000:00:08.0/"); });
        change(changed);
        return Written(changed, model_of(xen_417)).refused();
    };
    CHECK(refused([](auto&) {}).empty());
    CHECK(refused([](auto& tree) { ++tree.find("0000:00:03.0/e1000")->version; }) ==
          std::set<std::string>{"device-version 0000:00:03.0/e1000: version 3, the destination's 2"});
    // Not in the template: held against the layouts that are known.
    CHECK(refused([](auto& tree) { ++tree.find("0000:00:05.0/rtl8139")->version; }).size() == 1);
    const auto odd = refused([](auto& tree) {
        tree.find("0000:00:05.0/rtl8139")
            ->root.subsections.push_back({.vmsd_name = "rtl8139/new", .version = 1});
    });
    REQUIRE(odd.size() == 1);
    CHECK(odd.begin()->starts_with("device-mismatch 0000:00:05.0/rtl8139: not in the form"));
    const auto revision =
        refused([](auto& tree) { config_space(tree, "0000:00:03.0/e1000")[8] ^= std::byte{1}; });
    REQUIRE(revision.size() == 1);
    CHECK(revision.begin()->contains("PCI revision"));
    CHECK(refused([](auto& tree) { tree.find("i2c_bus")->idstr = "a_new_bus"; }) ==
          std::set<std::string>{"device-left-out a_new_bus"});
    CHECK(refused([](auto& tree) {
              auto second = *tree.find("PCIBUS");
              second.instance = 1;
              tree.sections.push_back(second);
          }) == std::set<std::string>{"device-left-out PCIBUS"});
}

TEST_CASE("device model for Xen: another board is refused, a device that only the template has is told") {
    const Written q35(load_tree("qemu-10.0/kvm-q35.bin.zst"), model_of(xen_420));
    const auto refused = q35.refused();
    CHECK(refused.contains("device-missing PIIX3"));
    CHECK(refused.contains("device-missing I440FX"));
    CHECK(refused.contains("device-missing piix4_pm"));

    const Written bare(load_tree("qemu-7.2/m1-tcp-plain-events.c0.s2d.zst"), model_of(xen_417));
    CHECK(bare.told("e1000: a domain of this Xen can have it"));
    CHECK(bare.told("serial: a domain of this Xen can have it"));
    CHECK_FALSE(bare.told("fdc: "));
}

TEST_CASE(
    "device model for Xen: a recorded blob is its own translation, wires and power management included") {
    for (const auto* name : {xen_417, xen_420}) {
        const auto& model = model_of(name);
        const Written written(model, model);
        CHECK(written.refused().empty());
        std::size_t kept = 0;
        for (const auto& section : written.tree.sections) {
            CAPTURE(section.idstr);
            const auto* native = model.find(section.idstr, section.instance);
            REQUIRE(native != nullptr);
            CHECK(section.version == native->version);
            CHECK(difference(section.root, native->root) == "");
            ++kept;
        }
        // Without cpu_common, cpu and apic of two processors, ioapic, hpet, fw_cfg.
        CHECK(kept == model.sections.size() - 9);
    }
}
