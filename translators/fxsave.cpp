#include "translators/fxsave.hpp"

#include <algorithm>
#include <bit>

namespace vmferry {
namespace {

template <typename T>
void store_le(std::span<std::byte> to, std::size_t at, T value) {
    std::memcpy(to.data() + at, &value, sizeof(T));
}

/// Offsets count from the first byte of the area.
constexpr std::size_t xstate_bv_at = 512, xcomp_bv_at = 520;

std::unexpected<Error> area_error(std::string field, std::size_t at, std::string found,
                                  std::string expected) {
    return stream_error("HVM_CONTEXT", "CPU_XSAVE", std::move(field), at, std::move(found),
                        std::move(expected));
}

struct ComponentPlace {
    std::size_t offset = 0, size = 0;
};

/// Where the processor that the guest saw keeps a component: CPUID leaf 0xD, sub-leaf = component.
Result<ComponentPlace> component_place(const xen::CpuidPolicy& policy, unsigned component,
                                       std::size_t expected_size) {
    const auto* leaf = xen::find_leaf(policy, 0xD, component);
    if (!leaf || leaf->eax == 0)
        return area_error(fmt::format("component {}", component), xstate_bv_at, "in use",
                          "a component that leaf 0xD of the CPUID policy places");
    if (leaf->eax < expected_size)
        return area_error(fmt::format("component {} size", component), xstate_bv_at,
                          fmt::format("{}", leaf->eax), fmt::format("at least {}", expected_size));
    return ComponentPlace{leaf->ebx, leaf->eax};
}

/// Reading and writing differ only in the direction of the copy.
struct Reader {
    Bytes area;
    template <typename T>
    void operator()(std::size_t at, T& value) const {
        std::memcpy(&value, area.data() + at, sizeof(T));
    }
};
struct Writer {
    std::span<std::byte> area;
    template <typename T>
    void operator()(std::size_t at, const T& value) const {
        std::memcpy(area.data() + at, &value, sizeof(T));
    }
};

struct ComponentShape {
    std::uint64_t bit;
    std::size_t size;
};
constexpr ComponentShape shapes[] = {
    {xstate::avx, 256},      {xstate::bound_registers, 64}, {xstate::bound_config, 16}, {xstate::opmask, 64},
    {xstate::zmm_high, 512}, {xstate::zmm_upper, 1024},     {xstate::pkru, 4}};

template <typename Copy, typename State>
void copy_component(std::uint64_t bit, std::size_t at, const Copy& copy, State& state) {
    switch (bit) {
        case xstate::avx:
            copy(at, state.ymm_high);
            break;
        case xstate::bound_registers:
            for (std::size_t i = 0; i < 4; ++i) {
                copy(at + 16 * i, state.bound_low[i]);
                copy(at + 16 * i + 8, state.bound_high[i]);
            }
            break;
        case xstate::bound_config:
            copy(at, state.bndcfgu);
            copy(at + 8, state.bndstatus);
            break;
        case xstate::opmask:
            copy(at, state.opmask);
            break;
        case xstate::zmm_high:
            copy(at, state.zmm_high);
            break;
        case xstate::zmm_upper:
            copy(at, state.zmm_upper);
            break;
        case xstate::pkru:
            copy(at, state.pkru);
            break;
        default:
            break;
    }
}

}  // namespace

Fpu read_fxsave(Bytes image) {
    Fpu fpu;
    fpu.control = load_le<std::uint16_t>(image, 0);
    fpu.status = load_le<std::uint16_t>(image, 2);
    fpu.tag = load_le<std::uint8_t>(image, 4);
    fpu.opcode = load_le<std::uint16_t>(image, 6);
    fpu.instruction_pointer = load_le<std::uint64_t>(image, 8);
    fpu.data_pointer = load_le<std::uint64_t>(image, 16);
    fpu.mxcsr = load_le<std::uint32_t>(image, 24);
    fpu.mxcsr_mask = load_le<std::uint32_t>(image, 28);
    for (std::size_t i = 0; i < 8; ++i)
        fpu.st[i] = {load_le<std::uint64_t>(image, 32 + 16 * i), load_le<std::uint16_t>(image, 40 + 16 * i)};
    for (std::size_t i = 0; i < 16; ++i)
        fpu.xmm[i] = {load_le<std::uint64_t>(image, 160 + 16 * i),
                      load_le<std::uint64_t>(image, 168 + 16 * i)};
    return fpu;
}

void write_fxsave(const Fpu& fpu, std::span<std::byte> image) {
    store_le(image, 0, fpu.control);
    store_le(image, 2, fpu.status);
    store_le(image, 4, fpu.tag);
    store_le(image, 6, fpu.opcode);
    store_le(image, 8, fpu.instruction_pointer);
    store_le(image, 16, fpu.data_pointer);
    store_le(image, 24, fpu.mxcsr);
    store_le(image, 28, fpu.mxcsr_mask);
    for (std::size_t i = 0; i < 8; ++i) {
        store_le(image, 32 + 16 * i, fpu.st[i].mantissa);
        store_le(image, 40 + 16 * i, fpu.st[i].exponent);
    }
    for (std::size_t i = 0; i < 16; ++i) {
        store_le(image, 160 + 16 * i, fpu.xmm[i].low);
        store_le(image, 168 + 16 * i, fpu.xmm[i].high);
    }
}

std::vector<FxsaveRow> fxsave_rows() {
    const std::string reserved =
        "reserved by the architecture, or left to software and used by nobody but Xen";
    return {{"fpu.control", "FCW", Law::exact, {}, {0, 2}},
            {"fpu.status", "FSW", Law::exact, {}, {2, 2}},
            {"fpu.tag", "FTW", Law::exact, {}, {4, 1}},
            {"reserved byte of FXSAVE", "5", Law::one_way, reserved, {5, 1}},
            {"fpu.opcode", "FOP", Law::exact, {}, {6, 2}},
            {"fpu.instruction_pointer", "FIP", Law::exact, {}, {8, 8}},
            {"fpu.data_pointer", "FDP", Law::exact, {}, {16, 8}},
            {"fpu.mxcsr", "MXCSR", Law::exact, {}, {24, 4}},
            {"fpu.mxcsr_mask",
             "MXCSR_MASK",
             Law::exact,
             "QEMU shows the mask of the processor that it runs on",
             {28, 4}},
            {"fpu.st", "ST0–ST7", Law::exact, {}, {32, 10, 16, 8}},
            {"reserved bytes of FXSAVE", "after each ST", Law::one_way, reserved, {42, 6, 16, 8}},
            {"fpu.xmm", "XMM0–XMM15", Law::exact, {}, {160, 256}},
            {"reserved end of FXSAVE", "416–511", Law::one_way, reserved, {416, 96}}};
}

Result<void> read_xsave_area(Bytes area, const xen::CpuidPolicy& policy, Fpu& fpu, ExtendedState& extended) {
    if (area.size() < xsave_header_end)
        return area_error("area", 0, fmt::format("{} bytes", area.size()), "at least 576 bytes");
    const auto in_use = load_le<std::uint64_t>(area, xstate_bv_at);
    if (const auto compacted = load_le<std::uint64_t>(area, xcomp_bv_at); compacted != 0)
        return area_error("xcomp_bv", xcomp_bv_at, fmt::format("{:#x}", compacted), "0 (standard format)");
    if (const auto unknown = in_use & ~xstate::known; unknown != 0)
        return std::unexpected(
            Error{.kind = ErrorKind::refused,
                  .format = "HVM_CONTEXT",
                  .record = "CPU_XSAVE",
                  .field = "xstate_bv",
                  .offset = xstate_bv_at,
                  .found = fmt::format("{:#x}", in_use),
                  .expected = fmt::format("a subset of {:#x}", xstate::known),
                  .hint = "hide these processor features from the guest (cpuid= on the source)"});

    const Fpu image = read_fxsave(area);
    fpu = Fpu{};
    if (in_use & xstate::x87) {
        fpu.control = image.control;
        fpu.status = image.status;
        fpu.tag = image.tag;
        fpu.opcode = image.opcode;
        fpu.instruction_pointer = image.instruction_pointer;
        fpu.data_pointer = image.data_pointer;
        fpu.st = image.st;
    }
    if (in_use & xstate::sse) fpu.xmm = image.xmm;
    // MXCSR goes with SSE and with AVX (SDM vol. 1, 13.8.1).
    if (in_use & (xstate::sse | xstate::avx)) fpu.mxcsr = image.mxcsr;
    fpu.mxcsr_mask = image.mxcsr_mask;

    extended.xstate_bv = in_use;
    for (const auto& shape : shapes) {
        if (!(in_use & shape.bit)) continue;
        VMFERRY_ASSIGN(
            const auto place,
            component_place(policy, static_cast<unsigned>(std::countr_zero(shape.bit)), shape.size));
        if (place.offset < xsave_header_end || place.offset + shape.size > area.size())
            return area_error(fmt::format("component at {}", place.offset), xstate_bv_at,
                              fmt::format("{} bytes of area", area.size()),
                              fmt::format("at least {}", place.offset + shape.size));
        copy_component(shape.bit, place.offset, Reader{area}, extended);
    }
    return {};
}

Result<Buffer> write_xsave_area(const xen::CpuidPolicy& policy, const Fpu& fpu,
                                const ExtendedState& extended) {
    std::size_t size = xsave_header_end;
    for (unsigned component = 2; component < 63; ++component) {
        if (!(extended.xcr0_accumulated >> component & 1)) continue;
        VMFERRY_ASSIGN(const auto place, component_place(policy, component, 0));
        size = std::max(size, place.offset + place.size);
    }
    Buffer area(size);
    write_fxsave(fpu, area);
    store_le(std::span(area), xstate_bv_at, extended.xstate_bv);
    for (const auto& shape : shapes) {
        if (!(extended.xstate_bv & shape.bit)) continue;
        VMFERRY_ASSIGN(
            const auto place,
            component_place(policy, static_cast<unsigned>(std::countr_zero(shape.bit)), shape.size));
        if (place.offset + shape.size > area.size())
            return area_error("xstate_bv", xstate_bv_at, fmt::format("{:#x}", extended.xstate_bv),
                              "a subset of the accumulated XCR0");
        copy_component(shape.bit, place.offset, Writer{area}, extended);
    }
    return area;
}

}  // namespace vmferry
