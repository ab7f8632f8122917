// PCI configuration space of bus 0, by mechanism 1 (PCI 3.0, 3.2.2.3.2).
#pragma once
#include <cstdint>

uint32_t pci_read(unsigned device, unsigned function, unsigned offset);
bool pci_present(unsigned device, unsigned function);
void pci_report();
