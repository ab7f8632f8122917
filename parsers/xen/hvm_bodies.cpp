#include "parsers/xen/hvm_bodies.hpp"

#include <algorithm>
#include <bit>

#include "parsers/xen/hvm_layout.hpp"

namespace vmferry::xen {

namespace {

/// A body that must have exactly the size of its structure.
template <typename T>
Result<T> exact(Bytes body, const Place& place) {
    if (body.size() != sizeof(T)) return place.wrong_length(body.size(), std::to_string(sizeof(T)));
    return load_raw<T>(body);
}

/// A body of 64-bit fields that grew over the releases: Xen zero-extends what an older one sent.
template <typename T>
Result<T> grown(Bytes body, const Place& place) {
    if (body.empty() || body.size() > sizeof(T) || body.size() % 8 != 0)
        return place.wrong_length(body.size(), fmt::format("a multiple of 8, at most {}", sizeof(T)));
    T value{};
    std::memcpy(&value, body.data(), body.size());
    return value;
}

/// A field that is out of its range. `field` is its name, `at` its offset in the body.
std::unexpected<Error> out_of_range(const Place& place, std::string field, std::size_t at,
                                    std::uint64_t value, std::string expected) {
    return place.wrong(std::move(field), at, hex(value), std::move(expected));
}

Result<HvmBody> read_header(Bytes body, const Place& place) {
    VMFERRY_ASSIGN(const auto header, exact<hvm_save_header>(body, place));
    if (header.magic != HVM_FILE_MAGIC)
        return place.wrong("magic", 0, hex(header.magic), hex(HVM_FILE_MAGIC));
    if (header.version != HVM_FILE_VERSION)
        return place.wrong("version", 4, std::to_string(header.version), std::to_string(HVM_FILE_VERSION));
    return header;
}

Result<void> check_pending_event(const hvm_hw_cpu& cpu, const Place& place) {
    constexpr auto at = offsetof(hvm_hw_cpu, pending_event);
    if (!cpu.pending_valid) return {};
    if (cpu.pending_reserved != 0)
        return out_of_range(place, "pending_event", at, cpu.pending_event, "bits 12-30 zero");
    // 0 external, 2 NMI, 3 exception, 4–6 software (SDM vol. 3, VM-entry interruption information).
    if (cpu.pending_type == 1 || cpu.pending_type == 7)
        return out_of_range(place, "pending_event", at, cpu.pending_event, "a type other than 1 and 7");
    if (cpu.pending_error_valid && cpu.error_code > 0xFFFF)
        return out_of_range(place, "error_code", offsetof(hvm_hw_cpu, error_code), cpu.error_code, "16 bits");
    return {};
}

Result<HvmBody> read_cpu(Bytes body, const Place& place) {
    if (body.size() != sizeof(hvm_hw_cpu) && body.size() != cpu_length_before_4_7 &&
        body.size() != cpu_length_before_3_4)
        return place.wrong_length(body.size(), "1032, 1024 or 1016");
    hvm_hw_cpu cpu{};
    if (body.size() == cpu_length_before_3_4) {
        // No msr_tsc_aux there: what follows it stands 8 bytes earlier.
        constexpr auto tail = cpu_length_before_3_4 - cpu_tsc_aux_at;
        std::memcpy(&cpu, body.data(), cpu_tsc_aux_at);
        std::memcpy(reinterpret_cast<std::byte*>(&cpu) + offsetof(hvm_hw_cpu, tsc),
                    body.data() + cpu_tsc_aux_at, tail);
    } else {
        std::memcpy(&cpu, body.data(), body.size());
    }
    // Before `flags` existed, the FPU image was always valid.
    if (body.size() < sizeof(hvm_hw_cpu)) cpu.flags = XEN_X86_FPU_INITIALISED;

    if ((cpu.flags & ~XEN_X86_FPU_INITIALISED) != 0)
        return out_of_range(place, "flags", offsetof(hvm_hw_cpu, flags), cpu.flags, "0 or 1");
    if (cpu.pad0 != 0) return out_of_range(place, "pad0", offsetof(hvm_hw_cpu, pad0), cpu.pad0, "0");
    if (cpu.msr_tsc_aux > 0xFFFFFFFF)
        return out_of_range(place, "msr_tsc_aux", cpu_tsc_aux_at, cpu.msr_tsc_aux, "32 bits");
    VMFERRY_TRY(check_pending_event(cpu, place));
    return cpu;
}

Result<HvmBody> read_pic(std::uint16_t instance, Bytes body, const Place& place) {
    VMFERRY_ASSIGN(const auto pic, exact<hvm_hw_vpic>(body, place));
    const bool master = instance == 0;
    if (pic.is_master != (master ? 1 : 0))
        return place.wrong("is_master", 5, std::to_string(pic.is_master), master ? "1" : "0");
    // IRQs 0, 1, 2, 8 and 13 are edge-triggered by nature (PIIX data sheet, ELCR).
    const unsigned elcr_bits = master ? 0xFC : 0xDE;
    if ((pic.elcr & ~elcr_bits) != 0)
        return out_of_range(place, "elcr", 6, pic.elcr, "bits of " + hex(elcr_bits));
    if (pic.int_output > 1) return out_of_range(place, "int_output", 7, pic.int_output, "0 or 1");
    return pic;
}

Result<HvmBody> read_lapic(Bytes body, const Place& place) {
    if (body.size() != lapic_length_without_esr && body.size() != lapic_length_with_esr)
        return place.wrong_length(body.size(), "24 or 32");
    Lapic lapic;
    std::memcpy(&lapic, body.data(), body.size());
    constexpr std::uint64_t x2apic = 1U << 10, enabled = 1U << 11;
    if ((lapic.apic_base_msr & (x2apic | enabled)) == x2apic)
        return out_of_range(place, "apic_base_msr", 0, lapic.apic_base_msr, "x2APIC mode only if enabled");
    if (lapic.disabled > 3) return out_of_range(place, "disabled", 8, lapic.disabled, "bits 0 and 1");
    if (!std::has_single_bit(lapic.timer_divisor) || lapic.timer_divisor > 128)
        return place.wrong("timer_divisor", 12, std::to_string(lapic.timer_divisor),
                           "a power of two, 1 to 128");
    return lapic;
}

Result<HvmBody> read_pci_link(Bytes body, const Place& place) {
    VMFERRY_ASSIGN(const auto link, exact<hvm_hw_pci_link>(body, place));
    for (std::size_t i = 0; i < std::size(link.route); ++i)
        if (link.route[i] > 15)
            return place.wrong(fmt::format("route[{}]", i), i, std::to_string(link.route[i]), "0 to 15");
    for (std::size_t i = 0; i < std::size(link.pad0); ++i)
        if (link.pad0[i] != 0) return out_of_range(place, "pad0", 4 + i, link.pad0[i], "0");
    return link;
}

Result<HvmBody> read_pit(Bytes body, const Place& place) {
    VMFERRY_ASSIGN(const auto pit, exact<hvm_hw_pit>(body, place));
    for (std::size_t i = 0; i < std::size(pit.channels); ++i) {
        const auto& channel = pit.channels[i];
        struct Range {
            const char* name;
            std::size_t at;
            std::uint32_t value, least, most;
        };
        using Channel = hvm_hw_pit::hvm_hw_pit_channel;
        // The gates of channels 0 and 1 are wired high.
        const Range ranges[] = {
            {"count", offsetof(Channel, count), channel.count, 0, 0x10000},
            {"count_latched", offsetof(Channel, count_latched), channel.count_latched, 0, 4},
            {"read_state", offsetof(Channel, read_state), channel.read_state, 0, 4},
            {"write_state", offsetof(Channel, write_state), channel.write_state, 0, 4},
            {"rw_mode", offsetof(Channel, rw_mode), channel.rw_mode, 0, 3},
            {"bcd", offsetof(Channel, bcd), channel.bcd, 0, 1},
            {"gate", offsetof(Channel, gate), channel.gate, i < 2 ? 1U : 0U, 1},
        };
        for (const auto& range : ranges)
            if (range.value < range.least || range.value > range.most)
                return place.wrong(fmt::format("channels[{}].{}", i, range.name),
                                   sizeof(Channel) * i + range.at, std::to_string(range.value),
                                   fmt::format("{} to {}", range.least, range.most));
    }
    if (pit.speaker_data_on > 1)
        return out_of_range(place, "speaker_data_on", 48, pit.speaker_data_on, "0 or 1");
    if (pit.pad0 != 0) return out_of_range(place, "pad0", 52, pit.pad0, "0");
    return pit;
}

Result<HvmBody> read_rtc(Bytes body, const Place& place) {
    // Without rtc_offset up to Xen 4.13.
    if (body.size() != sizeof(hvm_hw_rtc) && body.size() != offsetof(hvm_hw_rtc, rtc_offset))
        return place.wrong_length(body.size(), "24 or 16");
    hvm_hw_rtc rtc{};
    std::memcpy(&rtc, body.data(), body.size());
    return rtc;
}

Result<HvmBody> read_mtrr(Bytes body, const Place& place) {
    VMFERRY_ASSIGN(const auto mtrr, exact<hvm_hw_mtrr>(body, place));
    if ((mtrr.msr_mtrr_cap & 0xFF) > MTRR_VCNT)
        return out_of_range(place, "msr_mtrr_cap", offsetof(hvm_hw_mtrr, msr_mtrr_cap), mtrr.msr_mtrr_cap,
                            "at most 8 variable ranges");
    // SDM vol. 3, IA32_MTRR_DEF_TYPE: type, FE (10), E (11).
    if ((mtrr.msr_mtrr_def_type & ~std::uint64_t{0xCFF}) != 0)
        return out_of_range(place, "msr_mtrr_def_type", offsetof(hvm_hw_mtrr, msr_mtrr_def_type),
                            mtrr.msr_mtrr_def_type, "only bits 0-7, 10 and 11");
    return mtrr;
}

Result<HvmBody> read_viridian_vcpu(Bytes body, const Place& place) {
    VMFERRY_ASSIGN(const auto context, grown<hvm_viridian_vcpu_context>(body, place));
    for (std::size_t i = 0; i < std::size(context._pad); ++i)
        if (context._pad[i] != 0) return out_of_range(place, "_pad", 9 + i, context._pad[i], "0");
    return context;
}

/// SDM vol. 1, 13.3: which sets of components a CPU accepts in XCR0.
bool valid_xcr0(std::uint64_t xcr0) {
    constexpr std::uint64_t x87 = 1, sse = 2, ymm = 4, mpx = 0x18, avx512 = 0xE0, amx = 0x60000;
    const auto all_or_none = [&](std::uint64_t bits) { return (xcr0 & bits) == 0 || (xcr0 & bits) == bits; };
    return (xcr0 & x87) != 0 && ((xcr0 & ymm) == 0 || (xcr0 & sse) != 0) && all_or_none(mpx) &&
           all_or_none(avx512) && ((xcr0 & avx512) == 0 || (xcr0 & ymm) != 0) && all_or_none(amx);
}

Result<HvmBody> read_xsave(Bytes body, const Place& place) {
    constexpr auto least = xsave_head_size + xsave_legacy_size + xsave_header_size;
    if (body.size() < least || body.size() > xsave_head_size + max_xsave_area)
        return place.wrong_length(body.size(),
                                  fmt::format("{} to {}", least, xsave_head_size + max_xsave_area));
    const auto area = body.subspan(xsave_head_size);
    CpuXsave xsave{load_le<std::uint64_t>(body, 0),
                   load_le<std::uint64_t>(body, 8),
                   load_le<std::uint64_t>(body, 16),
                   {area.begin(), area.end()}};
    if (!valid_xcr0(xsave.xcr0))
        return out_of_range(place, "xcr0", 8, xsave.xcr0, "a set that XSETBV accepts");
    if (!valid_xcr0(xsave.xcr0_accum))
        return out_of_range(place, "xcr0_accum", 16, xsave.xcr0_accum, "a set that XSETBV accepts");
    if ((xsave.xcr0 & ~xsave.xcr0_accum) != 0)
        return out_of_range(place, "xcr0", 8, xsave.xcr0, "bits of xcr0_accum " + hex(xsave.xcr0_accum));

    constexpr auto header_at = xsave_head_size + xsave_legacy_size;
    const auto xstate_bv = load_le<std::uint64_t>(body, header_at);
    if ((xstate_bv & ~xsave.xcr0_accum) != 0)
        return out_of_range(place, "xstate_bv", header_at, xstate_bv,
                            "bits of xcr0_accum " + hex(xsave.xcr0_accum));
    const auto xcomp_bv = load_le<std::uint64_t>(body, header_at + 8);
    if (xcomp_bv != 0) return out_of_range(place, "xcomp_bv", header_at + 8, xcomp_bv, "0 (standard format)");
    for (std::size_t at = header_at + 16; at < header_at + xsave_header_size; at += 8)
        if (const auto reserved = load_le<std::uint64_t>(body, at); reserved != 0)
            return out_of_range(place, "reserved", at, reserved, "0");
    return xsave;
}

Result<HvmBody> read_msrs(Bytes body, const Place& place) {
    if (body.size() < msr_head_size + msr_entry_size || (body.size() - msr_head_size) % msr_entry_size != 0)
        return place.wrong_length(body.size(), "8 and 16 for each MSR, at least one");
    const auto entries = (body.size() - msr_head_size) / msr_entry_size;
    const auto count = load_le<std::uint32_t>(body, 0);
    if (count != entries)
        return place.wrong("count", 0, std::to_string(count),
                           fmt::format("{} in a body of {}", entries, body.size()));
    CpuMsrs msrs{load_le<std::uint32_t>(body, 4), {}};
    for (std::size_t at = msr_head_size; at < body.size(); at += msr_entry_size) {
        const CpuMsrs::Entry entry{load_le<std::uint32_t>(body, at), load_le<std::uint64_t>(body, at + 8)};
        if (const auto reserved = load_le<std::uint32_t>(body, at + 4); reserved != 0)
            return out_of_range(place, "_rsvd", at + 4, reserved, "0");
        for (const auto& other : msrs.entries)
            if (other.index == entry.index)
                return place.wrong("index", at, fmt::format("{:#x} again", entry.index), "each MSR once");
        msrs.entries.push_back(entry);
    }
    return msrs;
}

}  // namespace

Result<HvmBody> read_hvm_body(HvmType type, std::uint16_t instance, Bytes body, const Place& place) {
    switch (type) {
        case HvmType::header:
            return read_header(body, place);
        case HvmType::cpu:
            return read_cpu(body, place);
        case HvmType::pic:
            return read_pic(instance, body, place);
        case HvmType::ioapic:
            return exact<hvm_hw_vioapic>(body, place);
        case HvmType::lapic:
            return read_lapic(body, place);
        case HvmType::lapic_regs:
            return exact<hvm_hw_lapic_regs>(body, place);
        case HvmType::pci_irq:
            return exact<hvm_hw_pci_irqs>(body, place);
        case HvmType::isa_irq:
            return exact<hvm_hw_isa_irqs>(body, place);
        case HvmType::pci_link:
            return read_pci_link(body, place);
        case HvmType::pit:
            return read_pit(body, place);
        case HvmType::rtc:
            return read_rtc(body, place);
        case HvmType::hpet:
            return exact<hvm_hw_hpet>(body, place);
        case HvmType::pmtimer:
            return exact<hvm_hw_pmtimer>(body, place);
        case HvmType::mtrr:
            return read_mtrr(body, place);
        case HvmType::viridian_domain:
            return grown<hvm_viridian_domain_context>(body, place);
        case HvmType::cpu_xsave:
            return read_xsave(body, place);
        case HvmType::viridian_vcpu:
            return read_viridian_vcpu(body, place);
        case HvmType::vmce_vcpu:
            return grown<hvm_vmce_vcpu>(body, place);
        case HvmType::tsc_adjust:
            return exact<hvm_tsc_adjust>(body, place);
        case HvmType::cpu_msr:
            return read_msrs(body, place);
        case HvmType::end:
            break;
    }
    return place.wrong("typecode", 0, std::to_string(static_cast<unsigned>(type)), "a save record");
}

namespace {

template <typename T>
Bytes first_bytes(const T& body, std::size_t size) {
    return std::as_bytes(std::span(&body, 1)).first(size);
}

/// Appends a structure in the length that its record had, if that is one that `exact` and `grown` accept.
struct BodyWriter {
    Buffer& out;
    std::uint32_t length;

    template <typename T>
    void operator()(const T& body) const {
        append_raw(out, body);
    }
    void operator()(const hvm_hw_cpu& cpu) const {
        if (length == cpu_length_before_3_4) {
            append(out, first_bytes(cpu, cpu_tsc_aux_at));
            append(out, first_bytes(cpu, cpu_length_before_4_7).subspan(offsetof(hvm_hw_cpu, tsc)));
        } else {
            append(out, first_bytes(cpu, length == cpu_length_before_4_7 ? length : sizeof cpu));
        }
    }
    void operator()(const Lapic& lapic) const {
        // 24 unless it came as 32: every release accepts 24, only later ones the other.
        append(out, first_bytes(lapic, length == lapic_length_with_esr ? length : lapic_length_without_esr));
    }
    void operator()(const hvm_hw_rtc& rtc) const {
        constexpr auto without_offset = offsetof(hvm_hw_rtc, rtc_offset);
        append(out, first_bytes(rtc, length == without_offset ? length : sizeof rtc));
    }
    void operator()(const hvm_viridian_domain_context& context) const { grown_body(context); }
    void operator()(const hvm_viridian_vcpu_context& context) const { grown_body(context); }
    void operator()(const hvm_vmce_vcpu& vmce) const { grown_body(vmce); }
    void operator()(const CpuXsave& xsave) const {
        append_le(out, xsave.xfeature_mask);
        append_le(out, xsave.xcr0);
        append_le(out, xsave.xcr0_accum);
        append(out, xsave.area);
    }
    void operator()(const CpuMsrs& msrs) const {
        append_le(out, static_cast<std::uint32_t>(msrs.entries.size()));
        append_le(out, msrs.pad);
        for (const auto& entry : msrs.entries) {
            append_le(out, entry.index);
            append_le(out, std::uint32_t{0});
            append_le(out, entry.value);
        }
    }

    template <typename T>
    void grown_body(const T& body) const {
        const bool shorter = length > 0 && length < sizeof body && length % 8 == 0;
        append(out, first_bytes(body, shorter ? length : sizeof body));
    }
};

}  // namespace

void append_hvm_body(Buffer& out, const HvmRecord& record) {
    std::visit(BodyWriter{out, record.length}, record.body);
}

}  // namespace vmferry::xen
