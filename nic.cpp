#include "nic.hpp"

#include "console.hpp"
#include "report.hpp"

namespace nic {
namespace {

constexpr u32 identity = 0x100E8086;
enum Register : u32 {
    control = 0x0000,
    status = 0x0008,
    cause = 0x00C0,
    cause_set = 0x00C8,
    mask_set = 0x00D0,
    receive_control = 0x0100,
    receive_base = 0x2800,
    transmit_base = 0x3800,
    multicast = 0x5200,
    address = 0x5400,
    vlan_filter = 0x5600,
};
constexpr u32 transmit_written_back = 1, filter_size = 512;

u64 page;
u32 config;
volatile u64 taken;

u32 read(u32 reg) {
    return mmio_read32(page + reg);
}
void write(u32 reg, u32 value) {
    mmio_write32(page + reg, value);
}

}  // namespace

bool set_up() {
    for (u32 device = 0; device < 32 && page == 0; ++device) {
        config = device << 11;
        if (pci_read(config) == identity) page = pci_read(config | 0x10) & ~15u;
    }
    if (page == 0) return false;
    constexpr u32 memory_space = 2;
    pci_write(config | 4, (pci_read(config | 4) & 0xFFFF) | memory_space);
    // Both units are off, so descriptors and filters only have to stay what they are.
    for (u32 i = 0; i < filter_size; i += 4) {
        write(multicast + i, i * 0x9E3779B1 + 1);
        write(vlan_filter + i, i * 0x85EBCA6B + 1);
    }
    write(receive_base, 0x00123450);
    write(transmit_base, 0x00678900);
    read(cause);
    write(mask_set, transmit_written_back);
    return true;
}

u8 isa_input() {
    return static_cast<u8>(pci_read(config | 0x3C));
}
u32 device_number() {
    return config >> 11;
}

void raise() {
    if (page != 0) write(cause_set, transmit_written_back);
}

void interrupt() {
    if (read(cause) & transmit_written_back) taken = taken + 1;
}

u64 interrupts() {
    return taken;
}

void report() {
    print_line("nic.present ", page != 0 ? 1u : 0u);
    if (page == 0) return;
    print_line("nic.interrupts ", interrupts());
    print_line("nic.control ", hex(read(control)));
    print_line("nic.status ", hex(read(status)));
    print_line("nic.mask ", hex(read(mask_set)));
    print_line("nic.receive_control ", hex(read(receive_control)));
    print_line("nic.receive_base ", hex(read(receive_base)));
    print_line("nic.transmit_base ", hex(read(transmit_base)));
    print_line("nic.address ", hex(read(address + 4), 8), hex(read(address), 8));
    u64 filters = digest_start;
    for (u32 i = 0; i < filter_size; i += 4) {
        const u32 words[] = {read(multicast + i), read(vlan_filter + i)};
        filters = digest(words, sizeof words, filters);
    }
    print_line("nic.filters.digest ", hex(filters));
}

}  // namespace nic
