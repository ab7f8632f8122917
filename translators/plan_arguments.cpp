#include "translators/plan_arguments.hpp"

#include <fmt/format.h>

namespace vmferry {

namespace {

constexpr std::uint64_t mib = 1u << 20, gib = 1u << 30;
constexpr std::uint64_t four_gib = 4 * gib;
constexpr std::string_view acpi_memory = "xfw", high_memory = "hi";

enum class For : std::uint8_t { destination, twin };

/// QEMU's option parser takes ",," for a comma inside a value.
std::string escaped(std::string_view value) {
    std::string out;
    for (const char c : value) out += c == ',' ? std::string(",,") : std::string(1, c);
    return out;
}

std::string address(PciSlot slot) {
    return slot.function == 0 ? fmt::format("{:#x}", slot.device)
                              : fmt::format("{:#x}.{}", slot.device, slot.function);
}

class Arguments {
  public:
    template <typename... T>
    void add(std::string option, fmt::format_string<T...> format, T&&... values) {
        words_.push_back(std::move(option));
        words_.push_back(fmt::format(format, std::forward<T>(values)...));
    }
    void flag(std::string option) { words_.push_back(std::move(option)); }
    [[nodiscard]] std::vector<std::string> take() { return std::move(words_); }

  private:
    std::vector<std::string> words_;
};

void add_machine(const Plan& plan, Arguments& out) {
    // vmport answers VMware's backdoor: Xen's device model has it off under Xen.
    auto machine = fmt::format("{},hpet={},vmport=off", plan.machine, plan.hpet ? "on" : "off");
    if (plan.max_ram_below_4g != 0) machine += fmt::format(",max-ram-below-4g={}", plan.max_ram_below_4g);
    if (plan.usb_uhci) machine += ",usb=on";
    out.add("-accel", "{}", plan.accel == Accel::kvm ? "kvm" : "tcg");
    out.add("-M", "{}", machine);
    out.add("-cpu", "{}", plan.cpu);
    // Xen's IOAPIC shows version 0x11; KVM's own does so anyway.
    if (plan.accel == Accel::tcg && plan.firmware == Firmware::hvmloader)
        out.add("-global", "ioapic.version=17");
}

/// A guest of SeaBIOS has the ids that QEMU gives. Xen's vCPU i has APIC id 2·i. Under TCG every id up to the
/// highest needs a CPU (its APIC stops its search at the first gap), so the odd ones exist and stay in SIPI
/// wait; KVM takes the gaps.
void add_cpus(const Plan& plan, Arguments& out) {
    const auto n = plan.vcpus;
    if (n == 1 || plan.firmware == Firmware::seabios_on_qemu) {
        out.add("-smp", "{}", n);
    } else if (plan.accel == Accel::tcg) {
        out.add("-smp", "{},sockets=1,cores={},threads=2", 2 * n, n);
    } else {
        out.add("-smp", "1,sockets=1,cores={},threads=2,maxcpus={}", n, 2 * n);
        const auto type = plan.cpu.substr(0, plan.cpu.find(','));
        for (unsigned i = 1; i < n; ++i)
            out.add("-device", "{}-x86_64-cpu,socket-id=0,core-id={},thread-id=0", type, i);
    }
}

void add_memory(const Plan& plan, Arguments& out) {
    if (plan.dimm_bytes == 0) {
        out.add("-m", "{}K", plan.main_ram_bytes >> 10);
        return;
    }
    // The region for DIMMs begins at 4 GiB; one GiB more than the DIMM leaves room for its alignment.
    out.add("-m", "size={}K,slots=1,maxmem={}K", plan.main_ram_bytes >> 10,
            (plan.main_ram_bytes + plan.dimm_bytes) >> 10);
    out.add("-object", "memory-backend-ram,id={},size={}", high_memory, plan.dimm_bytes);
    out.add("-device", "pc-dimm,id=dimm0,memdev={},addr={}", high_memory, four_gib);
}

void add_disks(const Plan& plan, For who, Arguments& out) {
    for (const auto& disk : plan.disks) {
        const auto bus = disk.ide_index / 2, unit = disk.ide_index % 2;
        auto device = fmt::format("{},bus=ide.{},unit={}", disk.cdrom ? "ide-cd" : "ide-hd", bus, unit);
        if (!disk.image.empty()) {
            const auto id = fmt::format("drive-{}", disk.ide_index);
            std::string drive =
                who == For::twin
                    ? fmt::format("driver=null-co,size={},read-zeroes=on", disk.bytes)
                    : fmt::format("file={},format={}", escaped(disk.image), escaped(disk.format));
            drive += fmt::format(",if=none,id={}", id);
            if (disk.readonly) drive += ",readonly=on";
            if (who == For::destination && !disk.drive_options.empty()) drive += "," + disk.drive_options;
            out.add("-drive", "{}", drive);
            device += ",drive=" + id;
        }
        out.add("-device", "{}", device);
    }
}

void add_nics(const Plan& plan, For who, Arguments& out) {
    for (const auto& nic : plan.nics) {
        const bool connected = who == For::destination && !nic.netdev.empty();
        // A hub port with nothing else on its hub: a card with its cable unplugged at the other end.
        out.add("-netdev", "{},id=net{}", connected ? nic.netdev : fmt::format("hubport,hubid={}", nic.index),
                nic.index);
        out.add("-device", "{},id=nic{},netdev=net{},mac={},addr={}", nic.model, nic.index, nic.index,
                nic.mac, address(nic.slot));
    }
}

std::vector<std::string> arguments_for(const Plan& plan, For who, const DestinationOptions& options) {
    Arguments out;
    out.add("-name", "{}", escaped(plan.name));
    if (!plan.uuid.empty()) out.add("-uuid", "{}", plan.uuid);
    out.flag("-nodefaults");
    out.flag("-no-user-config");
    add_machine(plan, out);
    add_cpus(plan, out);
    add_memory(plan, out);
    const bool twin = who == For::twin;
    out.add("-display", "{}", twin || options.display.empty() ? "none" : options.display);
    for (unsigned port = 0; port < plan.serial_ports; ++port)
        out.add("-serial", "{}", twin || port >= options.serial.size() ? "null" : options.serial[port]);
    if (!plan.vga.empty())
        out.add("-device", "{},addr={},vgamem_mb={}", plan.vga, address(plan.vga_slot),
                plan.vram_bytes / mib);
    if (plan.usb_tablet) out.add("-device", "usb-tablet,bus=usb-bus.0,port=1");
    add_nics(plan, who, out);
    add_disks(plan, who, out);
    if (plan.acpi_bytes != 0) {
        out.add("-object", "memory-backend-ram,id={},size={}", acpi_memory, plan.acpi_bytes);
        out.add("-device", "ivshmem-plain,memdev={},master=on,addr={}", acpi_memory, address(plan.acpi_slot));
    }
    auto words = out.take();
    if (!twin) words.insert(words.end(), options.extra.begin(), options.extra.end());
    return words;
}

}  // namespace

void write_arguments(Plan& plan, const DestinationOptions& options) {
    plan.arguments = arguments_for(plan, For::destination, options);
    plan.twin_arguments = arguments_for(plan, For::twin, options);
}

}  // namespace vmferry
