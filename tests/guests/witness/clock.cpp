// The PM timer, by which everything is measured (ACPI 6.5, 4.8.3.3). Its upper 8 bits are left out, they may
// not be there.
#include "clock.hpp"

#include <initializer_list>

#include "acpi.hpp"
#include "console.hpp"
#include "machine.hpp"

namespace {

uint16_t pm_port;
uint32_t pm_last;
volatile uint64_t pm_total;

bool counts(uint16_t port) {
    const auto first = in<uint32_t>(port);
    if (first == 0xFFFFFFFF) return false;
    for (int i = 0; i < 1000; ++i)
        if (in<uint32_t>(port) != first) return true;
    return false;
}

}  // namespace

uint16_t clock_port() {
    return pm_port;
}

uint64_t clock_ticks() {
    const InterruptsOff off;
    const uint32_t now = in<uint32_t>(pm_port) & 0xFFFFFF;
    pm_total = pm_total + ((now - pm_last) & 0xFFFFFF);
    pm_last = now;
    return pm_total;
}

bool clock_check() {
    if (!pm_port) pm_port = acpi.pm_timer, pm_last = in<uint32_t>(pm_port) & 0xFFFFFF;
    if (counts(pm_port)) return true;
    // Where Xen's guests have it, and where QEMU's machines do.
    for (const uint16_t port : {acpi.pm_timer, uint16_t(0xB008), uint16_t(0x608)}) {
        if (!counts(port)) continue;
        print("changed pm-timer.port expected %x found %x\n", pm_port, port);
        pm_port = port;
        pm_last = in<uint32_t>(port) & 0xFFFFFF;
        return false;
    }
    print("changed pm-timer expected counting found standing\n");
    return false;
}
