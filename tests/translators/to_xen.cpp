// Recorded QEMU machines with one thing changed, all the way into Xen's records.
#include "translators/to_xen.hpp"

#include <algorithm>
#include <functional>

#include <doctest/doctest.h>

#include "tests/error_text.hpp"
#include "tests/translators/way_back_fixture.hpp"
#include "translators/clocks.hpp"
#include "translators/devices.hpp"
#include "translators/events.hpp"
#include "translators/fxsave.hpp"

namespace vmferry {
namespace {

/// A machine of QEMU with the plan of a domain for it.
struct FromQemu {
    QemuSource source;
    XenPlan plan;
    XenTemplate xen;
    AuditReport audit;

    explicit FromQemu(const std::string& capture = "qemu-7.2/q22-i440fx-irq-run.bin.zst",
                      Accel accel = Accel::tcg) {
        auto snapshot = qemu::read_snapshot(test::load_capture(capture));
        REQUIRE_MESSAGE(snapshot, test::error_text(snapshot));
        source = {
            .machine = snapshot->machine, .blocks = snapshot->blocks, .tree = std::move(snapshot->tree)};
        static const auto recorded = test::load_source("xen-4.17-trimmed.up.zst");
        xen = recorded;
        plan.accel = accel;
        plan.cpuid = xen.cpuid;
        plan.tsc_khz = 2'000'000;
        plan.vcpus = 0;
        for (const auto& section : source.tree.sections) plan.vcpus += section.idstr == "cpu" ? 1 : 0;
        if (const auto* first = source.tree.find("cpu"); first->subsection("cpu/tsc_khz"))
            plan.tsc_khz = static_cast<std::uint32_t>(*first->get("+cpu/tsc_khz|env.tsc_khz"));
        plan.vga_vmsd = "vga";
        plan.vga_slot = {2, 0};
    }
    void set(std::string_view section, std::string_view path, std::uint64_t value,
             std::uint32_t instance = 0) {
        auto* found = source.tree.find(section, instance);
        REQUIRE_MESSAGE(found, section);
        const auto done = found->set(path, value);
        REQUIRE_MESSAGE(done, test::error_text(done));
    }
    [[nodiscard]] std::uint64_t get(std::string_view section, std::string_view path) const {
        return test::value(source.tree, section, path);
    }
    [[nodiscard]] std::int64_t now() const {
        return test::signed_value(source.tree, "timer", "cpu_clock_offset");
    }
    [[nodiscard]] Result<XenImage> run() {
        return translate_to_xen(source, plan, xen, test::Crossing::realtime_ns, audit);
    }
    [[nodiscard]] XenImage good() {
        auto image = run();
        REQUIRE_MESSAGE(image, test::error_text(image));
        REQUIRE_MESSAGE(!audit.refused(), audit.error().text());
        return std::move(*image);
    }
    [[nodiscard]] bool refuses(std::string_view rule) {
        const auto image = run();
        REQUIRE_MESSAGE(image, test::error_text(image));
        return std::ranges::any_of(audit.findings(), [rule](const Finding& finding) {
            return finding.verdict == Verdict::refused && finding.rule == rule;
        });
    }
};

template <typename Body>
Body record(const XenImage& image, std::uint16_t instance = 0) {
    const auto* found = xen::find_record<Body>(image.context, instance);
    REQUIRE(found);
    return *found;
}

std::uint32_t lapic_register(const XenImage& image, std::size_t at) {
    const auto page = record<hvm_hw_lapic_regs>(image);
    return load_le<std::uint32_t>(std::as_bytes(std::span(page.data)), at);
}
constexpr std::size_t tmict = 0x380, tdcr = 0x3E0;

}  // namespace

TEST_CASE("recorded machines of QEMU 2.10 to 10.0, TCG and KVM, cross") {
    struct Row {
        const char* capture;
        Accel accel;
        std::size_t online;
    };
    for (const auto& [capture, accel, online] :
         {Row{"qemu-7.2/q1-i440fx-S.bin.zst", Accel::tcg, 1},
          Row{"qemu-7.2/q12-i440fx-210-run.bin.zst", Accel::tcg, 1},
          Row{"qemu-7.2/q18-i440fx-smp6-sparse-apicid-S.bin.zst", Accel::tcg, 1},
          Row{"qemu-7.2/q22-i440fx-irq-run.bin.zst", Accel::tcg, 1},
          Row{"qemu-7.2/q6-i440fx-nics-run.bin.zst", Accel::tcg, 1},
          Row{"qemu-10.0/tcg-i440fx-10.0.bin.zst", Accel::tcg, 2},
          Row{"qemu-10.0/kvm-i440fx.bin.zst", Accel::kvm, 2},
          Row{"qemu-10.0/kvm-split.bin.zst", Accel::kvm, 1}}) {
        CAPTURE(std::string(capture));
        FromQemu guest(capture, accel);
        // SeaBIOS itself uses kvmclock where there is one; these guests ran no other system.
        guest.audit = AuditReport({"kvm-paravirtual", "device-left-out"});
        const auto image = guest.good();
        std::size_t cpus = 0, lapics = 0;
        for (const auto& entry : image.context) {
            cpus += std::holds_alternative<hvm_hw_cpu>(entry.body) ? 1 : 0;
            lapics += std::holds_alternative<xen::Lapic>(entry.body) ? 1 : 0;
        }
        CHECK(lapics == guest.plan.vcpus);
        CHECK(cpus == online);
        const auto bytes = xen::write_hvm_context(image.context);
        const auto again = xen::read_hvm_context(bytes, 0);
        CHECK_MESSAGE(again, test::error_text(again));
        CHECK(record<hvm_hw_hpet>(image).capability == 0xF424008086A201);
        CHECK(record<hvm_hw_pmtimer>(image).pm1a_en == 0);
        CHECK(image.tsc_info.khz == guest.plan.tsc_khz);
    }
}

TEST_CASE("a LAPIC timer that is due but has not fired comes at once; one that is off stays off") {
    constexpr std::uint64_t one_shot = 0xEC;
    for (const auto& [left, count] : std::initializer_list<std::pair<std::int64_t, std::uint32_t>>{
             {-1'000'000, 1}, {0, 1}, {3, 1}, {1'000'000, 100'000}}) {
        FromQemu guest;
        guest.set("apic", "lvt|0", one_shot);
        guest.set("apic", "initial_count", 62500);
        guest.set("apic", "divide_conf", 3);
        guest.set("apic", "count_shift", 4);
        guest.set("apic", "timer_expiry", static_cast<std::uint64_t>(guest.now() + left));
        const auto image = guest.good();
        CHECK(lapic_register(image, tmict) == count);
        CHECK(record<xen::Lapic>(image).timer_divisor == 1);
        CHECK((lapic_register(image, tdcr) & 0xB) == 0xB);  // divide by 1
    }
    FromQemu guest;
    guest.set("apic", "lvt|0", one_shot);
    guest.set("apic", "initial_count", 62500);
    guest.set("apic", "divide_conf", 3);
    guest.set("apic", "timer_expiry", static_cast<std::uint64_t>(-1));
    CHECK(lapic_register(guest.good(), tmict) == 0);
}

TEST_CASE("PIIX3's links become Xen's, one further") {
    FromQemu guest;
    const auto config = test::config_space(guest.source.tree, "0000:00:01.0/PIIX3");
    const std::uint8_t routes[] = {10, 0x80, 11, 5};
    for (std::size_t link = 0; link < 4; ++link) config[0x60 + link] = std::byte{routes[link]};
    const auto link = record<hvm_hw_pci_link>(guest.good());
    CHECK(link.route[1] == 10);
    CHECK(link.route[2] == 0);
    CHECK(link.route[3] == 11);
    CHECK(link.route[0] == 5);
}

TEST_CASE("an asserted PCI interrupt: the device's wire, not the ISA line that it is routed to") {
    FromQemu guest("qemu-7.2/q6-i440fx-nics-run.bin.zst");
    guest.audit = AuditReport({"device-left-out"});
    const auto devices = pci_devices(guest.source.tree);
    const auto e1000 = std::ranges::find(devices, "e1000", &PciDevice::name);
    REQUIRE(e1000 != devices.end());
    const auto slot = e1000->device;
    test::assert_interrupt(guest.source.tree, fmt::format("0000:00:{:02x}.0/e1000", slot));
    const auto config = test::config_space(guest.source.tree, "0000:00:01.0/PIIX3");
    config[0x60 + ((slot + 3) & 3)] = std::byte{11};
    guest.set("i8259", "last_irr", 1u << 3, 1);      // IRQ 11, by the link
    guest.set("i8259", "last_irr", 1u << 4 | 1, 0);  // IRQ 4, by the serial port; IRQ 0 is Xen's own
    // Entry of pin 11: level, active low, not masked, and not delivered yet.
    guest.set("ioapic", "ioredtbl|11", 0xA051);
    guest.set("apic", "apicbase", 0xFEE00900);
    guest.set("apic", "spurious_vec", 0x1FF);
    const auto image = guest.good();
    CHECK(record<hvm_hw_pci_irqs>(image).pad[slot / 16] == std::uint64_t{1} << (slot % 16 * 4));
    CHECK(record<hvm_hw_isa_irqs>(image).pad[0] == 1u << 4);
    // Xen looks at a level only when it changes: it has to be delivered already.
    CHECK((record<hvm_hw_vioapic>(image).redirtbl[11].bits & redirection::remote_irr) != 0);
    CHECK((lapic_register(image, 0x200 + 16 * (0x51 / 32)) >> (0x51 % 32) & 1) == 1);
}

TEST_CASE("registers in the form that Xen accepts") {
    FromQemu guest;
    guest.set("cpu", "env.cr[0]", 0x80050023);
    guest.set("cpu", "env.dr|7", 0xFFFFFFFF00000400);
    guest.set("cpu", "env.tr|flags", 0x8900);
    guest.set("timer", "cpu_ticks_offset", 0x123456789ABC);
    const auto image = guest.good();
    const auto cpu = record<hvm_hw_cpu>(image);
    CHECK(cpu.cr0 == 0x80050033);
    CHECK(cpu.dr7 == 0x400);
    CHECK(cpu.tr_arbytes == 0x8B);
    CHECK(cpu.tsc == 0x123456789ABC);
    CHECK(cpu.flags == 1);
    CHECK(image.tsc_info.nsec == scale(0x123456789ABC, 1'000'000, 2'000'000));

    FromQemu kvm("qemu-10.0/kvm-i440fx.bin.zst", Accel::kvm);
    kvm.audit = AuditReport({"kvm-paravirtual", "device-left-out"});
    kvm.set("cpu", "env.tsc", 0xABCDEF);
    kvm.set("timer", "cpu_ticks_offset", 5);
    CHECK(record<hvm_hw_cpu>(kvm.good()).tsc == 0xABCDEF);
}

TEST_CASE("x87 registers: physical order under TCG, the stack's under KVM") {
    for (const auto accel : {Accel::tcg, Accel::kvm}) {
        FromQemu guest(
            accel == Accel::tcg ? "qemu-7.2/q22-i440fx-irq-run.bin.zst" : "qemu-10.0/kvm-i440fx.bin.zst",
            accel);
        guest.audit = AuditReport({"kvm-paravirtual", "device-left-out"});
        constexpr std::size_t top = 3;
        guest.set("cpu", "env.fpus_vmstate", top << 11);
        for (std::size_t i = 0; i < 8; ++i)
            guest.set("cpu", fmt::format("env.fpregs|{}|tmp|tmp_mant", i), 100 + i);
        const auto image = guest.good();
        const auto cpu = record<hvm_hw_cpu>(image);
        const auto fpu = read_fxsave(std::as_bytes(std::span(cpu.fpu_regs)));
        for (std::size_t i = 0; i < 8; ++i)
            CHECK(fpu.st[i].mantissa == 100 + (accel == Accel::tcg ? (top + i) % 8 : i));
    }
}

TEST_CASE("what KVM was injecting is injected by Xen") {
    constexpr std::uint32_t valid = 1u << 31;
    const auto pending = [](const std::function<void(FromQemu&)>& change) {
        FromQemu guest("qemu-10.0/kvm-i440fx.bin.zst", Accel::kvm);
        guest.audit = AuditReport({"kvm-paravirtual", "device-left-out"});
        change(guest);
        return record<hvm_hw_cpu>(guest.good()).pending_event;
    };
    CHECK(pending([](FromQemu&) {}) == 0);
    CHECK(pending([](FromQemu& guest) { guest.set("cpu", "env.interrupt_injected", 0x41); }) ==
          (valid | 0x41));
    CHECK(pending([](FromQemu& guest) { guest.set("cpu", "env.nmi_pending", 1); }) == (valid | 0x202));
    CHECK(pending([](FromQemu& guest) { guest.set("cpu", "env.exception_nr", 1); }) == (valid | 0x301));
    // A page fault's error code is not in the stream: its instruction faults again.
    CHECK(pending([](FromQemu& guest) {
              guest.set("cpu", "env.exception_nr", 14);
              guest.set("cpu", "env.has_error_code", 1);
          }) == 0);
    FromQemu software("qemu-10.0/kvm-i440fx.bin.zst", Accel::kvm);
    software.set("cpu", "env.interrupt_injected", 0x80);
    software.set("cpu", "env.soft_interrupt", 1);
    CHECK(software.refuses("pending-event"));
}

TEST_CASE("what Xen cannot be told is refused by name") {
    const auto refuses = [](std::string_view rule, const std::function<void(FromQemu&)>& change) {
        FromQemu guest;
        change(guest);
        return guest.refuses(rule);
    };
    const auto subsection = [](std::string name) {
        return [name](FromQemu& guest) {
            guest.source.tree.find("cpu")->root.subsections.push_back({.vmsd_name = name, .version = 1});
        };
    };
    CHECK_FALSE(refuses("cpu-msr", [](FromQemu&) {}));
    CHECK(
        refuses("kvm-paravirtual", [](FromQemu& guest) { guest.set("cpu", "env.system_time_msr", 0x1001); }));
    CHECK(refuses("kvm-paravirtual", [](FromQemu& guest) { guest.set("kvm-tpr-opt", "state", 1); }));
    CHECK(refuses("kvm-paravirtual", subsection("cpu/steal_time_msr")));
    CHECK(refuses("hyperv-enlightenments", subsection("cpu/msr_hyperv_synic")));
    CHECK(refuses("nested-virtualization", subsection("cpu/nested_state")));
    CHECK(refuses("cpu-msr", subsection("cpu/of_tomorrow")));
    CHECK_FALSE(refuses("cpu-msr", subsection("cpu/msr_hwcr")));
    CHECK(
        refuses("system-management-mode", [](FromQemu& guest) { guest.set("cpu", "env.hflags", 1u << 19); }));
    CHECK(refuses("nested-virtualization", [](FromQemu& guest) { guest.set("cpu", "env.hflags2", 0x100); }));
    CHECK(refuses("cpu-state",
                  [](FromQemu& guest) { guest.set("cpu", "env.a20_mask", ~std::uint64_t{0x100000}); }));
    CHECK(refuses("cpu-msr", [](FromQemu& guest) { guest.set("cpu", "env.mcg_status", 4); }));
    CHECK(refuses("pending-event",
                  [](FromQemu& guest) { guest.set("cpu_common", "interrupt_request", 0x40); }));
    CHECK(refuses("cpu-state", [](FromQemu& guest) { guest.set("cpu", "env.cr[4]", 1u << 12); }));  // LA57
    CHECK(refuses("processor-count", [](FromQemu& guest) { guest.plan.vcpus = 2; }));
    CHECK(refuses("firmware-origin", [](FromQemu& guest) { guest.plan.acpi_block = "0000:00:1f.0/xfw"; }));
    CHECK(refuses("tsc-rate", [](FromQemu& guest) { guest.plan.tsc_khz = 0; }));
    CHECK(refuses("apic-base", [](FromQemu& guest) { guest.set("apic", "apicbase", 0xFED00900); }));
    CHECK(refuses("lapic-divider", [](FromQemu& guest) {
        guest.set("apic", "lvt|0", 0xEC);
        guest.set("apic", "divide_conf", 0xB);
        guest.set("apic", "initial_count", 100);
    }));
}

TEST_CASE("an HPET that runs is refused, one that lies idle is not") {
    FromQemu guest("qemu-7.2/q1-i440fx-S.bin.zst");
    REQUIRE(guest.source.tree.find("hpet"));
    CHECK_FALSE(guest.refuses("hpet-on-xen"));
    guest.set("hpet", "config", 1);
    CHECK(guest.refuses("hpet-on-xen"));
}

TEST_CASE("x2APIC mode needs Xen's own ids") {
    FromQemu guest("qemu-10.0/kvm-i440fx.bin.zst", Accel::kvm);
    guest.audit = AuditReport({"kvm-paravirtual", "device-left-out"});
    guest.set("apic", "apicbase", 0xFEE00C00, 1);
    CHECK(guest.refuses("x2apic-ids"));
}

TEST_CASE("what the guest reads at 0xC0000 follows the PAM registers, and the screen its BAR") {
    FromQemu guest;
    const auto bridge = test::config_space(guest.source.tree, "0000:00:00.0/I440FX");
    for (std::size_t at = 0x59; at <= 0x5F; ++at) bridge[at] = std::byte{0};
    bridge[0x59] = std::byte{0x10};
    bridge[0x5A] = std::byte{0x31};
    bridge[0x5F] = std::byte{0x20};  // written, not read
    const auto memory = guest.good().memory;
    for (std::size_t n = 0; n < memory.reads_dram.size(); ++n)
        CHECK(memory.reads_dram[n] == (n == 12 || n == 0 || n == 1));
}

TEST_CASE("INT of an 8259A") {
    Pic chip{.irr = 0x10, .imr = 0, .isr = 0};
    CHECK(pic_output(chip, true));
    chip.imr = 0x10;
    CHECK_FALSE(pic_output(chip, true));
    chip = {.irr = 0x10, .isr = 0x04};  // IRQ 2 in service beats IRQ 4
    CHECK_FALSE(pic_output(chip, true));
    chip.special_fully_nested = true;
    CHECK(pic_output(chip, true));
    CHECK_FALSE(pic_output(chip, false));
    chip = {.irr = 0x10, .imr = 0x04, .isr = 0x04, .special_mask = true};
    CHECK(pic_output(chip, true));
    chip = {.irr = 0x10, .isr = 0x04, .lowest_plus_one = 3};  // IRQ 3 is highest, IRQ 2 lowest
    CHECK(pic_output(chip, true));
    chip = {.irr = 0x10, .init_step = 1};
    CHECK_FALSE(pic_output(chip, true));
}

TEST_CASE("a template whose special pages lie elsewhere is no template") {
    FromQemu guest;
    for (auto& param : guest.xen.params)
        if (param.index == 1) param.value = 0x1234;  // STORE_PFN
    const auto image = guest.run();
    REQUIRE_FALSE(image);
    CHECK(image.error().kind == ErrorKind::environment);
    CHECK(image.error().text().find("0x1234") != std::string::npos);
}

}  // namespace vmferry
