// XSAVE state in QEMU's "cpu" section: XCR0, XSTATE_BV, the high halves of YMM, and one optional subsection
// for each further group of components.
#pragma once

#include "parsers/qemu/device_tree.hpp"
#include "parsers/wire/error.hpp"
#include "translators/machine.hpp"

namespace vmferry::qemu {

/// Precondition: vcpu.extended holds a value (complete_extended_state).
Result<void> write_extended_state(const Vcpu& vcpu, Section& cpu);
/// Inverse; fills vcpu.extended, vcpu.bndcfgs and FOP, FIP, FDP of vcpu.fpu.
Result<void> read_extended_state(const Section& cpu, Vcpu& vcpu);

}  // namespace vmferry::qemu
