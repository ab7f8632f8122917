#include "translators/hflags.hpp"

#include "translators/fxsave.hpp"

namespace vmferry {
namespace {

constexpr std::uint32_t bit(unsigned n) {
    return std::uint32_t{1} << n;
}

}  // namespace

std::uint32_t hflags(const Vcpu& vcpu, Accel accel) {
    const auto cr0 = [&](unsigned n) { return (vcpu.cr0 >> n & 1) != 0; };
    const auto cr4 = [&](unsigned n) { return (vcpu.cr4 >> n & 1) != 0; };
    const auto efer = [&](unsigned n) { return (vcpu.efer >> n & 1) != 0; };
    const bool protected_mode = cr0(0), virtual_8086 = (vcpu.rflags >> 17 & 1) != 0;

    std::uint32_t flags = vcpu.cpl();
    const auto set = [&flags](unsigned n, bool condition) {
        if (condition) flags |= bit(n);
    };
    set(7, protected_mode);
    set(9, cr0(1));     // MP
    set(10, cr0(2));    // EM
    set(11, cr0(3));    // TS
    set(20, efer(12));  // SVME
    set(22, cr4(9));    // OSFXSR
    set(23, cr4(21));   // SMAP
    set(27, cr4(11));   // UMIP
    if (accel == Accel::kvm)
        flags |= static_cast<std::uint32_t>(vcpu.rflags) & (bit(8) | bit(12) | bit(13) | bit(17));

    const bool long_mode = efer(10), code64 = (vcpu.cs.attributes >> 9 & 1) != 0;
    set(14, long_mode);
    if (long_mode && code64) {
        flags |= bit(4) | bit(5) | bit(15);  // CS32, SS32, CS64
    } else {
        const bool code32 = (vcpu.cs.attributes >> 10 & 1) != 0;
        set(4, code32);
        set(5, (vcpu.ss.attributes >> 10 & 1) != 0);
        // ADDSEG: segment bases must be added; may be left out only in flat 32-bit code.
        set(6, !protected_mode || virtual_8086 || !code32 || vcpu.ds.base != 0 || vcpu.es.base != 0 ||
                   vcpu.ss.base != 0);
    }

    const bool osxsave = cr4(18);
    if (osxsave && vcpu.extended) {
        const auto& extended = *vcpu.extended;
        constexpr auto avx = xstate::sse | xstate::avx;
        set(28, (extended.xcr0 & avx) == avx);
        // Bounds checking: on when enabled for this privilege level; "in use" when a bound register was
        // loaded.
        const bool bounds = (extended.xcr0 & xstate::bound_config) != 0 &&
                            ((vcpu.cpl() == 3 ? extended.bndcfgu : vcpu.bndcfgs) & 1) != 0;
        set(25, bounds);
        set(26, bounds && (extended.xstate_bv & xstate::bound_registers) != 0);
    }
    return flags;
}

}  // namespace vmferry
