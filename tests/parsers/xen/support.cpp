#include "tests/parsers/xen/support.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <zstd.h>

#include "parsers/xen/describe.hpp"
#include "parsers/xen/handshake.hpp"
#include "parsers/xen/hvm_bodies.hpp"
#include "parsers/xen/page_data.hpp"
#include "parsers/xen/stream_writer.hpp"

namespace vmferry::xen::test {

namespace {

Buffer pattern(std::size_t size, unsigned seed) {
    Buffer bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(seed + 7 * i + i / 251);
    return bytes;
}

class Builder {
  public:
    BuiltStream built;

    template <typename T>
    void add(const std::string& part, const T& record) {
        mark(part);
        write(built.bytes, record);
    }
    void add_batch(const std::string& part, const std::vector<PageEntry>& entries) {
        mark(part);
        write_page_batch(built.bytes, entries);
        for (const auto& entry : entries)
            if (entry.has_data()) append(built.bytes, pattern(page_size, static_cast<unsigned>(entry.gfn)));
    }
    void mark(const std::string& part) { built.at[part] = built.bytes.size(); }
};

std::vector<PageEntry> entries_of(std::uint64_t first, std::initializer_list<std::uint8_t> types) {
    std::vector<PageEntry> entries;
    for (const auto type : types) entries.push_back({first++, type});
    return entries;
}

template <typename Body>
HvmRecord record_of(HvmType type, std::uint16_t instance, Body body) {
    HvmRecord record{static_cast<std::uint16_t>(type), instance, 0, 0, std::move(body)};
    Buffer bytes;
    append_hvm_body(bytes, record);
    record.length = static_cast<std::uint32_t>(bytes.size());
    return record;
}

/// A structure full of recognisable bytes, for bodies in which every byte is free.
template <typename Body>
Body filled(unsigned seed) {
    Body body{};
    const auto bytes = pattern(sizeof body, seed);
    std::memcpy(&body, bytes.data(), sizeof body);
    return body;
}

void add_vcpu_records(HvmContext& context, std::uint16_t vcpu) {
    auto cpu = filled<hvm_hw_cpu>(vcpu);
    cpu.msr_tsc_aux = vcpu;
    cpu.pending_event = 0x80000BEE;  // hardware exception with an error code
    cpu.error_code = 0xFFFF;
    cpu.flags = 1;
    cpu.pad0 = 0;
    context.push_back(record_of(HvmType::cpu, vcpu, cpu));
    Lapic lapic{0xFEE00900, 0, 16, 0x1122334455667788, 0x80};
    auto record = record_of(HvmType::lapic, vcpu, lapic);
    if (vcpu == 1) record.length = lapic_length_with_esr;
    context.push_back(record);
    context.push_back(record_of(HvmType::lapic_regs, vcpu, filled<hvm_hw_lapic_regs>(vcpu)));
    auto mtrr = filled<hvm_hw_mtrr>(vcpu);
    mtrr.msr_mtrr_cap = 0x508;
    mtrr.msr_mtrr_def_type = 0xC06;
    context.push_back(record_of(HvmType::mtrr, vcpu, mtrr));
    CpuXsave xsave{7, 7, 7, pattern(832, vcpu)};
    std::fill_n(xsave.area.begin() + 512, 64, std::byte{0});
    xsave.area[512] = std::byte{7};
    context.push_back(record_of(HvmType::cpu_xsave, vcpu, xsave));
    auto viridian = filled<hvm_viridian_vcpu_context>(vcpu);
    std::ranges::fill(viridian._pad, std::uint8_t{0});
    context.push_back(record_of(HvmType::viridian_vcpu, vcpu, viridian));
    context.push_back(record_of(HvmType::vmce_vcpu, vcpu, filled<hvm_vmce_vcpu>(vcpu)));
    context.push_back(record_of(HvmType::tsc_adjust, vcpu, hvm_tsc_adjust{42}));
    context.push_back(record_of(HvmType::cpu_msr, vcpu, CpuMsrs{0xDEAD, {{0x48, 1}, {0xC0011027, ~0ULL}}}));
}

std::string record_name(const Record& record) {
    const auto description = describe(record);
    return description.layer + " " + description.name;
}

}  // namespace

HvmContext build_context() {
    HvmContext context;
    context.push_back(record_of(
        HvmType::header, 0, hvm_save_header{HVM_FILE_MAGIC, HVM_FILE_VERSION, ~0ULL, 0x000306C3, 2'596'136}));
    for (std::uint16_t vcpu = 0; vcpu < 2; ++vcpu) add_vcpu_records(context, vcpu);
    for (std::uint16_t pic = 0; pic < 2; ++pic) {
        auto body = filled<hvm_hw_vpic>(pic);
        body.is_master = pic == 0 ? 1 : 0;
        body.elcr = pic == 0 ? 0x24 : 0x0C;
        body.int_output = 1;
        context.push_back(record_of(HvmType::pic, pic, body));
    }
    context.push_back(record_of(HvmType::ioapic, 0, filled<hvm_hw_vioapic>(4)));
    context.push_back(record_of(HvmType::pci_irq, 0, filled<hvm_hw_pci_irqs>(7)));
    context.push_back(record_of(HvmType::isa_irq, 0, filled<hvm_hw_isa_irqs>(8)));
    context.push_back(record_of(HvmType::pci_link, 0, hvm_hw_pci_link{{5, 10, 11, 15}, {}}));
    hvm_hw_pit pit{};
    for (auto& channel : pit.channels) channel = {65536, 1234, 4, 1, 0x36, 3, 4, 0xAA, 3, 2, 1, 1};
    pit.speaker_data_on = 1;
    context.push_back(record_of(HvmType::pit, 0, pit));
    context.push_back(record_of(HvmType::rtc, 0, filled<hvm_hw_rtc>(11)));
    context.push_back(record_of(HvmType::hpet, 0, filled<hvm_hw_hpet>(12)));
    context.push_back(record_of(HvmType::pmtimer, 0, filled<hvm_hw_pmtimer>(13)));
    context.push_back(record_of(HvmType::viridian_domain, 0, filled<hvm_viridian_domain_context>(15)));
    return context;
}

BuiltStream build_stream(const StreamOptions& options) {
    Builder builder;
    builder.add("xl", XlHeader{3, 0, "{ \"c_info\": { \"name\": \"g\" } }", {}});
    builder.add("libxl", LibxlHeader{});
    builder.add("LIBXC_CONTEXT", LibxcContext{});
    builder.add("image", ImageHeader{options.version, 0});
    builder.add("domain", DomainHeader{2, 12, 4, 17});
    if (options.version >= 3) {
        builder.add("X86_CPUID_POLICY", CpuidPolicyRecord{{{0, CpuidLeaf::no_subleaf, 0xD, 1, 2, 3},
                                                           {7, 0, 0, 4, 5, 6},
                                                           {0xD, 2, 256, 576, 0, 0}}});
        builder.add("X86_MSR_POLICY", MsrPolicyRecord{{{0xCE, 0x80000000}, {0x10A, 1}}});
        builder.add("STATIC_DATA_END", StaticDataEnd{});
    }
    if (options.optional) {
        const auto body = pattern(37, 5);
        builder.add("optional", SkippedOptional{0x80000123, 37, 0, body});
    }
    builder.add_batch("PAGE_DATA", entries_of(0x100, {0xF, 0xF, 0, 0, 0xE, 1, 0xD, 9, 0xF}));
    builder.add_batch("holes", entries_of(0x10000, {0xF, 0xF, 0xF}));
    builder.add_batch("all data", entries_of(max_gfn - 3, {0, 0, 0, 0}));
    builder.add("VERIFY", Verify{});
    builder.add_batch("second copy", entries_of(0x102, {0}));
    builder.add("X86_TSC_INFO", TscInfo{2, 2'596'136, 123'456'789'012, 1});
    const auto context = write_hvm_context(build_context());
    builder.add("HVM_CONTEXT", HvmContextRecord{context});
    builder.add("HVM_PARAMS", HvmParams{{{1, 0xFEFFC}, {17, 0xFEFFF}, {19, 1}}});
    builder.add("libxc END", LibxcEnd{});
    if (options.xenstore_data)
        builder.add("EMULATOR_XENSTORE_DATA",
                    EmulatorXenstoreData{2, 0, {{"physmap/f0000000/name", "vga.vram"}, {"empty", ""}}});
    const auto blob = pattern(333, 9);
    builder.add("EMULATOR_CONTEXT", EmulatorContext{2, 0, blob});
    builder.add("END", LibxlEnd{});
    builder.mark("go");
    append(builder.built.bytes, go);
    return std::move(builder.built);
}

Buffer load_capture(const std::string& name) {
    const auto path = fmt::format(VMFERRY_SOURCE_DIR "/captures/{}", name);
    std::ifstream file(path, std::ios::binary);
    REQUIRE_MESSAGE(file.good(), path);
    const std::string packed{std::istreambuf_iterator<char>(file), {}};
    Buffer out;
    auto* stream = ZSTD_createDStream();
    ZSTD_inBuffer in{packed.data(), packed.size(), 0};
    std::size_t left = 1;
    while (left != 0 && in.pos < in.size) {
        const auto had = out.size();
        out.resize(had + (4U << 20));
        ZSTD_outBuffer piece{out.data() + had, out.size() - had, 0};
        left = ZSTD_decompressStream(stream, &piece, &in);
        REQUIRE_FALSE(ZSTD_isError(left));
        out.resize(had + piece.pos);
    }
    ZSTD_freeDStream(stream);
    return out;
}

ReadBack read_all(Bytes bytes, const std::function<std::size_t(std::size_t)>& chunk,
                  StreamReader::Start start) {
    ReadBack back;
    StreamReader reader(start);
    std::size_t have = 0;
    // Counted, not checked one by one: there are millions of steps.
    unsigned broken_contracts = 0;
    const auto contract = [&](bool kept) { broken_contracts += kept ? 0 : 1; };
    for (bool ended = false; !ended;) {
        const auto in = bytes.subspan(back.consumed, have);
        auto step = reader.next(in);
        if (!step) {
            back.errors.push_back(step.error());
            break;
        }
        if (!step->event) {
            contract(step->consumed == 0 && step->need > in.size());
            const auto left = bytes.size() - back.consumed;
            if (have == left) {
                back.errors.push_back(reader.truncated(have));
                break;
            }
            have = std::min(left, have + std::max<std::size_t>(1, chunk ? chunk(have) : left));
            continue;
        }
        const auto written = back.rewritten.size();
        write_record(back.rewritten, *step->event);
        contract(step->consumed <= have && back.rewritten.size() - written == step->consumed);
        back.consumed += step->consumed;
        have -= step->consumed;
        contract(reader.offset() == back.consumed);
        const auto name = record_name(*step->event);
        const bool piece = name == "libxc pages" || name == "libxc optional record";
        if (!piece || back.records.empty() || back.records.back() != name) back.records.push_back(name);
        ended = std::holds_alternative<StreamEnd>(*step->event);
    }
    CHECK(broken_contracts == 0);
    return back;
}

}  // namespace vmferry::xen::test
