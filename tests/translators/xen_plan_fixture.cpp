#include "tests/translators/xen_plan_fixture.hpp"

#include <algorithm>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "tests/error_text.hpp"

namespace vmferry::test {

namespace {

constexpr std::uint64_t mib = 1u << 20;

/// As Xen 4.17 on an AMD host with AVX2 has it for its guests, shortened to the leaves that count.
xen::CpuidPolicy destination_policy() {
    constexpr auto none = xen::CpuidLeaf::no_subleaf;
    return {{0, none, 0xD, 0x68747541, 0x444D4163, 0x69746E65},
            {1, none, 0x00060FB1, 0x00020800, 0xF6F83203, 0x1FCBFBFD},
            {7, 0, 0, 0x01880329, 0x00000204, 0},
            {0xD, 0, 7, 0, 0x340, 0},
            {0xD, 1, 5, 0, 0, 0},
            {0xD, 2, 0x100, 0x240, 0, 0},
            {0x80000000, none, 0x80000021, 0x68747541, 0x444D4163, 0x69746E65},
            {0x80000001, none, 0x00060FB1, 0, 0x71, 0xEDD3FBFD},
            {0x80000008, none, 0x3028, 0x00100000, 1, 0},
            {0x80000021, none, 4, 0, 0, 0}};
}

/// The feature words of a CPU that shows just this policy.
CpuFacts cpu_of(const xen::CpuidPolicy& policy) {
    CpuFacts cpu;
    cpu.vendor = "AuthenticAMD";
    cpu.family = 15;
    cpu.model = 107;
    cpu.stepping = 1;
    cpu.phys_bits = 40;
    using enum CpuidRegister;
    for (const auto leaf : {1U, 7U, 0x80000001U, 0x80000008U, 0x80000021U}) {
        const auto* entry = xen::find_leaf(policy, leaf);
        cpu.words.push_back({leaf, 0, eax, entry->eax});
        cpu.words.push_back({leaf, 0, ebx, entry->ebx});
        cpu.words.push_back({leaf, 0, ecx, entry->ecx});
        cpu.words.push_back({leaf, 0, edx, entry->edx});
    }
    cpu.words.push_back({0xD, 1, eax, 5});
    cpu.words.push_back({0xD, 0, eax, 7});
    return cpu;
}

}  // namespace

XenPlanFixture::XenPlanFixture() {
    xen.xen_major = 4;
    xen.xen_minor = 17;
    xen.cpuid = destination_policy();
    xen.msrs = {{0xCE, 0x80000000}, {0x10A, 0}};

    facts.emplace();
    facts->qemu_major = 7;
    facts->qemu_minor = 2;
    facts->stopped = true;  // else TCG's missed writes are refused
    facts->machine = source.machine = "pc-i440fx-7.2";
    facts->name = "web1";
    facts->uuid = "11223344-5566-7788-99aa-bbccddeeff00";
    facts->vcpus = facts->max_vcpus = 2;
    facts->apic_ids = {0, 1};
    facts->ram_block = "pc.ram";
    facts->ram_bytes = facts->low_ram_end = 112 * mib;
    facts->vga = "cirrus-vga";
    facts->vga_slot = {2, 0};
    facts->vram_bytes = 8 * mib;
    facts->nics.push_back({.model = "e1000", .id = "net7", .mac = "00:16:3e:11:22:44", .slot = {3, 0}});
    facts->disks.push_back(
        {.model = "ide-hd", .id = "", .file = "/srv/web1.img", .slot = {}, .bytes = 3 * mib});
    facts->serial_ports = 1;
    facts->cpu = cpu_of(xen.cpuid);
    add_block("pc.ram", 112 * mib);
    add_block("pc.bios", 256 << 10);
    add_block("pc.rom", 128 << 10);
    add_block("0000:00:02.0/vga.vram", 8 * mib);
    add_block("0000:00:02.0/vga.rom", 64 << 10);
    add_block("0000:00:03.0/e1000.rom", 256 << 10);
    add_block("/rom@etc/acpi/tables", 128 << 10);

    options.disks["hda"] = {.path = "/dev/vg/web1"};
    options.nics["0"] = {.bridge = "xenbr0", .script = ""};
    options.tsc_khz = 2'000'000;
}

XenPlan XenPlanFixture::plan() {
    audit = AuditReport(options.allow);
    auto plan = make_xen_plan(facts, source, xen, options, audit);
    REQUIRE_MESSAGE(plan.has_value(), error_text(plan));
    return std::move(*plan);
}

Error XenPlanFixture::error() {
    audit = AuditReport(options.allow);
    auto plan = make_xen_plan(facts, source, xen, options, audit);
    REQUIRE_FALSE(plan.has_value());
    return plan.error();
}

std::string XenPlanFixture::finding(std::string_view rule) const {
    const auto found = std::ranges::find(audit.findings(), rule, &Finding::rule);
    return found == audit.findings().end() ? std::string() : found->text;
}

void XenPlanFixture::add_block(std::string name, std::uint64_t bytes) {
    source.blocks.push_back({std::move(name), bytes});
}

std::string extra_arguments(const nlohmann::json& config) {
    std::string all;
    const nlohmann::json::json_pointer at("/b_info/extra_hvm");
    if (!config.contains(at)) return all;
    for (const auto& word : config[at]) all += (all.empty() ? "" : " ") + word.get<std::string>();
    return all;
}

}  // namespace vmferry::test
