// An e1000 (Intel 8254x, software developer's manual), only as a source of PCI interrupts: no driver, no
// packets.
#pragma once

#include "instructions.hpp"

namespace nic {

/// Finds the first one on bus 0 and gives it marks.
bool set_up();
/// Where its INTA# arrives at the 8259s: what the firmware wrote into the interrupt line register.
u8 isa_input();
u32 device_number();

/// Asks for an interrupt (register ICS).
void raise();
/// Takes it back (reading ICR clears it); counts it.
void interrupt();
u64 interrupts();
void report();

}  // namespace nic
