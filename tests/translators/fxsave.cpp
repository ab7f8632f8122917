#include "translators/fxsave.hpp"

#include <random>

#include <doctest/doctest.h>

#include "tests/translators/machine_fixture.hpp"

namespace vmferry {
namespace {

/// Component sizes and places of an Intel server, and of an AMD one, which packs PKRU elsewhere.
xen::CpuidPolicy policy(std::uint32_t pkru_offset = 2688) {
    const auto component = [](std::uint32_t n, std::uint32_t size, std::uint32_t offset) {
        return xen::CpuidLeaf{.leaf = 0xD, .subleaf = n, .eax = size, .ebx = offset};
    };
    return {{.leaf = 0xD, .subleaf = 0, .eax = 0x2FF},
            component(2, 256, 576),
            component(3, 64, 960),
            component(4, 64, 1024),
            component(5, 64, 1088),
            component(6, 512, 1152),
            component(7, 1024, 1664),
            component(9, 8, pkru_offset)};
}

ExtendedState everything(std::mt19937_64& random) {
    ExtendedState state;
    const auto fill = [&random](auto& target) {
        test::fill_random(std::as_writable_bytes(std::span(&target, 1)), random);
    };
    state.xcr0 = state.xcr0_accumulated = state.xstate_bv = 0x2FF;
    fill(state.ymm_high);
    fill(state.bound_low);
    fill(state.bound_high);
    fill(state.bndcfgu);
    fill(state.bndstatus);
    fill(state.opmask);
    fill(state.zmm_high);
    fill(state.zmm_upper);
    fill(state.pkru);
    return state;
}

Fpu some_fpu(std::mt19937_64& random) {
    std::array<std::byte, fxsave_size> image{};
    test::fill_random(image, random);
    return read_fxsave(image);
}

TEST_CASE("FXSAVE image to the neutral form and back") {
    std::mt19937_64 random(4);
    const auto fpu = some_fpu(random);
    std::array<std::byte, fxsave_size> image{};
    write_fxsave(fpu, image);
    CHECK(read_fxsave(image) == fpu);
    CHECK(load_le<std::uint16_t>(image, 0) == fpu.control);
    CHECK(load_le<std::uint64_t>(image, 32 + 16 * 7) == fpu.st[7].mantissa);
    CHECK(load_le<std::uint64_t>(image, 160 + 16 * 15 + 8) == fpu.xmm[15].high);
}

TEST_CASE("XSAVE area to the neutral form and back, at the places of the policy") {
    std::mt19937_64 random(5);
    for (const std::uint32_t pkru : {2688u, 2432u + 512u}) {
        const auto fpu = some_fpu(random);
        const auto state = everything(random);
        const auto area = write_xsave_area(policy(pkru), fpu, state);
        REQUIRE(area);
        CHECK(area->size() == pkru + 8);
        CHECK(load_le<std::uint32_t>(*area, pkru) == state.pkru);
        CHECK(load_le<std::uint64_t>(*area, 576) == state.ymm_high[0].low);
        Fpu fpu_back;
        ExtendedState back;
        back.xcr0 = back.xcr0_accumulated = 0x2FF;
        REQUIRE(read_xsave_area(*area, policy(pkru), fpu_back, back));
        CHECK(back == state);
        CHECK(fpu_back == fpu);
        CHECK(*write_xsave_area(policy(pkru), fpu_back, back) == *area);
    }
}

TEST_CASE("components that are not in use are in their initial state, whatever memory holds") {
    std::mt19937_64 random(6);
    Buffer area(840);
    test::fill_random(area, random);
    std::fill(area.begin() + 512, area.begin() + 576, std::byte{0});
    Fpu fpu;
    ExtendedState state;
    REQUIRE(read_xsave_area(area, policy(), fpu, state));
    auto expected = Fpu{};
    expected.mxcsr_mask = fpu.mxcsr_mask;
    CHECK(fpu == expected);
    CHECK(state.ymm_high == ExtendedState{}.ymm_high);

    area[512] = std::byte{2};  // SSE alone: XMM and MXCSR
    REQUIRE(read_xsave_area(area, policy(), fpu, state));
    CHECK(fpu.xmm == read_fxsave(area).xmm);
    CHECK(fpu.mxcsr == read_fxsave(area).mxcsr);
    CHECK(fpu.control == 0x37F);
}

TEST_CASE("areas that cannot be read are named") {
    Fpu fpu;
    ExtendedState state;
    const auto error = [&](Bytes area, const xen::CpuidPolicy& leaves) {
        const auto result = read_xsave_area(area, leaves, fpu, state);
        REQUIRE(!result);
        return result.error();
    };
    CHECK(error(Buffer(575), policy()).field == "area");

    Buffer area(832);
    area[520] = std::byte{1};
    CHECK(error(area, policy()).field == "xcomp_bv");
    area[520] = std::byte{0};

    area[512] = std::byte{4};
    CHECK(error(area, {}).field == "component 2");
    CHECK(error(Buffer(area.begin(), area.begin() + 700), policy()).expected == "at least 832");
    auto narrow = policy();
    narrow[1].eax = 128;
    CHECK(error(area, narrow).field == "component 2 size");
    auto low = policy();
    low[1].ebx = 512;
    CHECK(error(area, low).field == "component at 512");

    area[514] = std::byte{6};  // AMX tiles
    const auto refused = error(area, policy());
    CHECK(refused.kind == ErrorKind::refused);
    CHECK(refused.field == "xstate_bv");
}

}  // namespace
}  // namespace vmferry
