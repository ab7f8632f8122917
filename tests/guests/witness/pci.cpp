// PCI configuration space of bus 0.
#include "pci.hpp"

#include "console.hpp"
#include "machine.hpp"

uint32_t pci_read(unsigned device, unsigned function, unsigned offset) {
    out<uint32_t>(0xCF8, 1u << 31 | device << 11 | function << 8 | offset);
    return in<uint32_t>(0xCFC);
}

bool pci_present(unsigned device, unsigned function) {
    if (pci_read(device, function, 0) == 0xFFFFFFFF) return false;
    return function == 0 || (pci_read(device, 0, 0x0C) >> 16 & 0x80);
}

void pci_report() {
    for (unsigned device = 0; device < 32; ++device)
        for (unsigned function = 0; function < 8 && pci_present(device, 0); ++function)
            for (unsigned offset = 0; pci_present(device, function) && offset < 256; offset += 4)
                if (const uint32_t value = pci_read(device, function, offset))
                    print("pci.%2x:%2x.%x.%2x %8x\n", 0, device, function, offset, value);
}
