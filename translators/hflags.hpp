// QEMU's hflags: a summary of the processor's mode that TCG decodes instructions by. QEMU takes it from the
// stream as it stands (only the CPL is derived again), so a wrong bit kills the guest without any error.
#pragma once

#include <cstdint>

#include "translators/machine.hpp"
#include "translators/plan.hpp"

namespace vmferry {

/// Under TCG the bits at the places of EFLAGS.TF, IOPL, RF, VM and AC stay clear: TCG ors EFLAGS over hflags
/// for every block and never clears these bits in hflags, so a TF or VM that was set here would stay for
/// ever. KVM keeps TF, IOPL and VM there and derives them anew whenever it reads the registers.
[[nodiscard]] std::uint32_t hflags(const Vcpu& vcpu, Accel accel);

}  // namespace vmferry
