#include "translators/qemu/tables.hpp"

#include <algorithm>
#include <random>
#include <set>

#include <doctest/doctest.h>

#include "tests/translators/machine_fixture.hpp"
#include "translators/devices.hpp"
#include "translators/qemu/extended_state.hpp"
#include "translators/table_listing.hpp"
#include "translators/xen/tables.hpp"

namespace vmferry {
namespace {

using qemu::Context;
using qemu::Section;
using qemu::Struct;

/// Paths of all values: integers one by one, buffers as a whole.
void leaves(const Struct& part, const std::string& prefix, std::vector<std::string>& out) {
    for (const auto& field : part.fields) {
        const auto path = prefix + field.name;
        if (field.elements.empty() && (field.count == 1 || field.size == 1)) out.push_back(path);
        for (std::uint32_t i = 0;
             field.elements.empty() && field.size > 1 && field.count > 1 && i < field.count; ++i)
            out.push_back(fmt::format("{}|{}", path, i));
        for (std::size_t i = 0; i < field.elements.size(); ++i)
            leaves(field.elements[i],
                   field.elements.size() == 1 ? path + "|" : fmt::format("{}|{}|", path, i), out);
    }
    for (const auto& sub : part.subsections) leaves(sub, prefix + "+" + sub.vmsd_name + "|", out);
}

template <typename Neutral>
bool claimed(const qemu::Table<Neutral>& table, std::string_view leaf) {
    return std::ranges::any_of(table, [leaf](const auto& row) {
        return !row.path.empty() && leaf.starts_with(row.path) &&
               (leaf.size() == row.path.size() || leaf[row.path.size()] == '|' ||
                leaf[row.path.size()] == '.');
    });
}

template <typename Neutral>
void every_field_claimed(const qemu::DeviceTree& tree, std::string_view name,
                         const qemu::Table<Neutral>& table) {
    for (const auto& section : tree.sections) {
        if (vmferry::name_without_slot(section.idstr) != name) continue;
        std::vector<std::string> paths;
        leaves(section.root, {}, paths);
        REQUIRE(!paths.empty());
        for (const auto& path : paths) CHECK_MESSAGE(claimed(table, path), name, " ", path);
    }
}

void platform_covered(const qemu::DeviceTree& tree) {
    every_field_claimed(tree, "timer", qemu::timer_table());
    every_field_claimed(tree, "cpu_common", qemu::cpu_common_table());
    every_field_claimed(tree, "cpu", qemu::cpu_table());
    every_field_claimed(tree, "apic", qemu::apic_table());
    every_field_claimed(tree, "ioapic", qemu::ioapic_table());
    every_field_claimed(tree, "i8259", qemu::pic_table());
    every_field_claimed(tree, "i8254", qemu::pit_table());
    every_field_claimed(tree, "mc146818rtc", qemu::rtc_table());
    every_field_claimed(tree, "pcspk", qemu::speaker_table());
    every_field_claimed(tree, "hpet", qemu::hpet_table());
    every_field_claimed(tree, "piix4_pm", qemu::piix4_pm_table());
    every_field_claimed(tree, "PIIX3", qemu::piix3_table());
    every_field_claimed(tree, "I440FX", qemu::host_bridge_table());
    every_field_claimed(tree, "PCIBUS", qemu::pci_bus_table());
}

TEST_CASE("every field of every synthesized section belongs to a row, a translator or the template") {
    for (const char* name :
         {"twins/tcg-7.2-2vcpu-cirrus-e1000-ide.zst", "twins/tcg-7.2-1vcpu-stdvga-hpet.zst",
          "twins/kvm-7.2-2vcpu-cirrus-e1000-ide.zst", "qemu-10.0/kvm-i440fx.bin.zst",
          "qemu-10.0/tcg-i440fx-10.0.bin.zst", "qemu-7.2/q22-i440fx-irq-run.bin.zst"}) {
        CAPTURE(name);
        platform_covered(test::load_twin(name).tree);
    }
}

void randomise(Struct& part, std::mt19937_64& random) {
    for (auto& field : part.fields) {
        test::fill_random(field.data, random);
        for (auto& element : field.elements) randomise(element, random);
    }
}

Buffer content(const Section& section, const std::string& path) {
    if (const auto bytes = section.bytes(path)) return {bytes->begin(), bytes->end()};
    const auto* field = section.find(path);
    REQUIRE_MESSAGE(field, path);
    Section part;
    part.root.fields.push_back(*field);
    return qemu::encode_payload(part);
}

/// A section of random bytes through the table into another one: exact rows give back their bytes, all rows
/// keep their meaning. Sections that hold times are tested by themselves.
template <typename Neutral, typename Tame>
void laws_hold(const Section& shape, const qemu::Table<Neutral>& table, const Context& context, Tame tame) {
    std::mt19937_64 random(2);
    for (int round = 0; round < 10; ++round) {
        Section before = shape, after = shape;
        randomise(before.root, random);
        tame(before);
        Neutral neutral{}, reread{};
        REQUIRE(qemu::read_rows(table, context, before, neutral));
        REQUIRE(qemu::write_rows(table, context, neutral, after));
        REQUIRE(qemu::read_rows(table, context, after, reread));
        CHECK(reread == neutral);
        for (const auto& row : table)
            if (row.law == Law::exact && row.read && row.write && !row.path.starts_with('+'))
                CHECK_MESSAGE(content(before, row.path) == content(after, row.path), row.path);
    }
}

constexpr auto as_it_is = [](Section&) {};

TEST_CASE("QEMU's rows keep their laws, under TCG and under KVM") {
    const auto twin = test::load_twin("twins/tcg-7.2-1vcpu-stdvga-hpet.zst");
    const auto shape = [&twin](std::string_view name) {
        const auto* section = twin.tree.find(name);
        REQUIRE(section);
        return *section;
    };
    for (const auto accel : {Accel::tcg, Accel::kvm}) {
        const Context context{.accel = accel};
        laws_hold(shape("cpu"), qemu::cpu_table(), context, as_it_is);
        laws_hold(shape("apic"), qemu::apic_table(), context, as_it_is);
        laws_hold(shape("ioapic"), qemu::ioapic_table(), context, as_it_is);
        laws_hold(shape("i8259"), qemu::pic_table(), context, [](Section& chip) {
            for (const auto* flag :
                 {"read_reg_select", "poll", "special_mask", "auto_eoi", "rotate_on_auto_eoi",
                  "special_fully_nested_mode", "init4", "single_mode"})
                REQUIRE(chip.set(flag, *chip.get(flag) & 1));
        });
        laws_hold(shape("hpet"), qemu::hpet_table(), context, as_it_is);
    }
}

TEST_CASE("x87 registers stand in physical order under TCG, in stack order under KVM") {
    const auto twin = test::load_twin("twins/tcg-7.2-1vcpu-stdvga-hpet.zst");
    auto cpu = *twin.tree.find("cpu");
    Vcpu vcpu;
    vcpu.fpu.status = 5 << 11;  // TOP = 5
    for (std::size_t i = 0; i < 8; ++i)
        vcpu.fpu.st[i] = {0x8000000000000000 + i, static_cast<std::uint16_t>(100 + i)};
    REQUIRE(qemu::write_rows(qemu::cpu_table(), {.accel = Accel::tcg}, vcpu, cpu));
    CHECK(*cpu.get("env.fpregs|5|tmp|tmp_exp") == 100);
    CHECK(*cpu.get("env.fpregs|0|tmp|tmp_exp") == 103);
    REQUIRE(qemu::write_rows(qemu::cpu_table(), {.accel = Accel::kvm}, vcpu, cpu));
    CHECK(*cpu.get("env.fpregs|0|tmp|tmp_exp") == 100);
    CHECK(*cpu.get("env.fpregs|7|tmp|tmp_mant") == 0x8000000000000007);
}

TEST_CASE("events stand in KVM's fields") {
    const auto twin = test::load_twin("twins/kvm-7.2-2vcpu-cirrus-e1000-ide.zst");
    auto cpu = *twin.tree.find("cpu");
    const auto write = [&cpu](const PendingEvent& event) {
        Vcpu vcpu;
        vcpu.event = event;
        REQUIRE(qemu::write_rows(qemu::cpu_table(), {.accel = Accel::kvm}, vcpu, cpu));
    };
    using Type = PendingEvent::Type;
    write({.valid = true, .type = Type::external, .vector = 0xEC});
    CHECK(*cpu.get("env.interrupt_injected") == 0xEC);
    CHECK(*cpu.get_signed("env.exception_nr") == -1);
    write({.valid = true, .type = Type::exception, .vector = 1});
    CHECK(*cpu.get_signed("env.interrupt_injected") == -1);
    CHECK(*cpu.get("env.exception_nr") == 1);
    write({.valid = true, .type = Type::nmi, .vector = 2});
    CHECK(*cpu.get("env.nmi_pending") == 1);
    write({});
    CHECK(*cpu.get_signed("env.interrupt_injected") == -1);
    CHECK(*cpu.get_signed("env.exception_nr") == -1);
    CHECK(*cpu.get("env.nmi_pending") == 0);
}

TEST_CASE("extended state goes to QEMU's subsections and back") {
    const auto twin = test::load_twin("twins/kvm-7.2-2vcpu-cirrus-e1000-ide.zst");
    std::mt19937_64 random(3);
    Vcpu vcpu;
    auto& extended = vcpu.extended.emplace();
    const auto fill = [&random](auto& target) {
        test::fill_random(std::as_writable_bytes(std::span(&target, 1)), random);
    };
    extended.xcr0 = extended.xcr0_accumulated = 0x2FF;
    extended.xstate_bv = 0x2E7;
    fill(extended.ymm_high);
    fill(extended.bound_low);
    fill(extended.bound_high);
    fill(extended.opmask);
    fill(extended.zmm_high);
    fill(extended.zmm_upper);
    extended.bndcfgu = 0x1001;
    extended.bndstatus = 7;
    extended.pkru = 0x55555554;
    vcpu.bndcfgs = 0x2003;
    vcpu.fpu.opcode = 0x123;
    vcpu.fpu.instruction_pointer = 0xFFFF800000001234;
    vcpu.fpu.data_pointer = 0x5678;

    auto cpu = *twin.tree.find("cpu");
    const auto plain = qemu::encode_payload(cpu).size();
    REQUIRE(qemu::write_extended_state(vcpu, cpu));
    // Header: type byte, length byte, name, version. Payloads as QEMU's vmstate has them.
    CHECK(qemu::encode_payload(cpu).size() == plain + (6 + 8 + 4) + (6 + 7 + 11 * 8) +
                                                  (6 + 10 + 8 * 8 + 16 * 32 + 16 * 64) +
                                                  (6 + 14 + 2 + 8 + 8));
    Vcpu back;
    REQUIRE(qemu::read_extended_state(cpu, back));
    CHECK(back == vcpu);

    // Nothing left behind when there is nothing to say.
    Vcpu empty;
    empty.extended.emplace();
    REQUIRE(qemu::write_extended_state(empty, cpu));
    CHECK(qemu::encode_payload(cpu).size() == plain);
}

TEST_CASE("MSRs of their own subsection appear when they are set, and disappear") {
    const auto twin = test::load_twin("twins/kvm-7.2-2vcpu-cirrus-e1000-ide.zst");
    auto cpu = *twin.tree.find("cpu");
    Vcpu vcpu;
    vcpu.tsc_adjust = static_cast<std::uint64_t>(-5);
    vcpu.spec_ctrl = 1;
    vcpu.virt_spec_ctrl = 4;
    vcpu.pkrs = 0x30;
    REQUIRE(qemu::write_rows(qemu::cpu_table(), {.accel = Accel::kvm}, vcpu, cpu));
    CHECK(*cpu.get_signed("+cpu/msr_tsc_adjust|env.tsc_adjust") == -5);
    CHECK(*cpu.get("+cpu/spec_ctrl|env.spec_ctrl") == 1);
    CHECK(*cpu.get("+cpu/virt_ssbd|env.virt_ssbd") == 4);
    CHECK(*cpu.get("+cpu/pkrs|env.pkrs") == 0x30);
    CHECK(cpu.find("+cpu/pkrs|env.pkrs")->size == 4);
    REQUIRE(qemu::write_rows(qemu::cpu_table(), {.accel = Accel::kvm}, Vcpu{}, cpu));
    CHECK(cpu.subsection("cpu/spec_ctrl") == nullptr);
    CHECK(cpu.subsection("cpu/pkrs") == nullptr);
}

TEST_CASE("the listing joins both sides, and nothing that Xen carries is without an answer") {
    const auto lines = list_tables();
    std::set<std::string> fields;
    for (const auto& line : lines) {
        CHECK_MESSAGE((!line.xen.empty() || !line.qemu.empty() || !line.conversion.empty()), line.field);
        CHECK_MESSAGE((line.law == Law::exact || !line.conversion.empty()), line.field);
        if (line.xen.empty() || line.law == Law::one_way) continue;
        // "vcpu.fpu" stands for all of its parts.
        const bool answered = !line.qemu.empty() || !line.conversion.empty() || line.field == "vcpu.fpu";
        CHECK_MESSAGE(answered, line.field, " (", line.xen, ")");
    }
    const auto rip = std::ranges::find(lines, "vcpu.rip", &TableListing::field);
    REQUIRE(rip != lines.end());
    CHECK(rip->xen == "CPU.rip");
    CHECK(rip->qemu == "cpu: env.eip");
    CHECK(rip->law == Law::exact);
    CHECK(std::ranges::count(lines, "vcpu.cs.base", &TableListing::field) == 1);
}

}  // namespace
}  // namespace vmferry
