#include "translators/hflags.hpp"

#include <doctest/doctest.h>

#include "translators/fxsave.hpp"
#include "translators/segments.hpp"

namespace vmferry {
namespace {

constexpr std::uint32_t bit(unsigned n) {
    return std::uint32_t{1} << n;
}

/// Linux in kernel mode: paging, long mode, 64-bit code.
Vcpu long_mode() {
    Vcpu vcpu;
    vcpu.cr0 = 0x80050033;
    vcpu.cr4 = 0x3406F0;  // SMEP, SMAP, OSXSAVE, OSFXSR, …
    vcpu.efer = 0xD01;
    vcpu.cs.attributes = 0xA9B;
    vcpu.ss.attributes = 0xC93;
    vcpu.extended.emplace().xcr0 = 7;
    return vcpu;
}

TEST_CASE("segment attributes are the descriptor without its gap") {
    CHECK(descriptor_of_attributes(0xA9B) == 0x00A09B00);
    CHECK(attributes_of_descriptor(0x00A09B00) == 0xA9B);
    CHECK(attributes_of_descriptor(0xFFFF9BFF) == 0xF9B);
    for (std::uint32_t attributes = 0; attributes < 0x1000; ++attributes)
        CHECK(attributes_of_descriptor(descriptor_of_attributes(attributes)) == attributes);
}

TEST_CASE("hflags in long mode") {
    const auto kernel = bit(4) | bit(5) | bit(15) | bit(7) | bit(9) | bit(14) | bit(22) | bit(23) | bit(28);
    auto vcpu = long_mode();
    CHECK(hflags(vcpu, Accel::tcg) == kernel);
    vcpu.ss.attributes |= 3 << 5;
    CHECK(hflags(vcpu, Accel::tcg) == (kernel | 3));
    vcpu.cr0 |= 8;        // TS
    vcpu.cr4 |= 0x800;    // UMIP
    vcpu.efer |= 0x1000;  // SVME
    CHECK(hflags(vcpu, Accel::tcg) == (kernel | 3 | bit(11) | bit(27) | bit(20)));
}

TEST_CASE("AVX needs OSXSAVE and both halves in XCR0") {
    auto vcpu = long_mode();
    vcpu.extended->xcr0 = 3;
    CHECK((hflags(vcpu, Accel::tcg) & bit(28)) == 0);
    vcpu.extended->xcr0 = 7;
    vcpu.cr4 &= ~std::uint64_t{1u << 18};
    CHECK((hflags(vcpu, Accel::tcg) & bit(28)) == 0);
}

TEST_CASE("bounds checking is on per privilege level") {
    auto vcpu = long_mode();
    vcpu.extended->xcr0 = 0x1F;
    vcpu.extended->bndcfgu = 1;
    CHECK((hflags(vcpu, Accel::tcg) & (bit(25) | bit(26))) == 0);
    vcpu.bndcfgs = 1;
    CHECK((hflags(vcpu, Accel::tcg) & (bit(25) | bit(26))) == bit(25));
    vcpu.extended->xstate_bv = xstate::bound_registers;
    CHECK((hflags(vcpu, Accel::tcg) & (bit(25) | bit(26))) == (bit(25) | bit(26)));
    vcpu.ss.attributes |= 3 << 5;
    vcpu.bndcfgs = 0;
    CHECK((hflags(vcpu, Accel::tcg) & bit(25)) != 0);
}

TEST_CASE("flags that TCG ors in from EFLAGS must not be in hflags") {
    auto vcpu = long_mode();
    const auto plain = hflags(vcpu, Accel::tcg);
    vcpu.rflags = 2 | bit(8) | bit(12) | bit(13) | bit(16) | bit(18);
    CHECK(hflags(vcpu, Accel::tcg) == plain);
    CHECK(hflags(vcpu, Accel::kvm) == (plain | bit(8) | bit(12) | bit(13)));
}

TEST_CASE("hflags outside long mode") {
    Vcpu real;
    CHECK(hflags(real, Accel::tcg) == bit(6));  // as after reset: ADDSEG

    Vcpu flat;
    flat.cr0 = 1;
    flat.cs.attributes = 0xC9B;
    flat.ss.attributes = 0xC93;
    CHECK(hflags(flat, Accel::tcg) == (bit(4) | bit(5) | bit(7)));
    flat.ds.base = 0x1000;
    CHECK(hflags(flat, Accel::tcg) == (bit(4) | bit(5) | bit(6) | bit(7)));
    flat.ds.base = 0;
    flat.rflags |= bit(17);
    CHECK((hflags(flat, Accel::tcg) & bit(6)) != 0);

    Vcpu code16 = flat;
    code16.rflags = 2;
    code16.cs.attributes = 0x89B;
    CHECK(hflags(code16, Accel::tcg) == (bit(5) | bit(6) | bit(7)));

    // Compatibility mode: LMA, but no CS.L.
    auto compatible = long_mode();
    compatible.cs.attributes = 0xCFB;
    CHECK((hflags(compatible, Accel::tcg) & (bit(4) | bit(14) | bit(15))) == (bit(4) | bit(14)));
}

}  // namespace
}  // namespace vmferry
