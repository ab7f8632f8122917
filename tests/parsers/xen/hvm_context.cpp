// HVM_CONTEXT: identity in all lengths that Xen knows, and the rules of its loader.
#include "parsers/xen/hvm_context.hpp"

#include <algorithm>
#include <functional>

#include <doctest/doctest.h>

#include "parsers/xen/hvm_bodies.hpp"
#include "tests/error_text.hpp"
#include "tests/parsers/xen/support.hpp"

namespace vmferry::xen::test {

namespace {

constexpr std::size_t descriptor = 8;

std::size_t offset_of(const HvmContext& context, HvmType type, std::uint16_t instance) {
    std::size_t at = 0;
    for (const auto& record : context) {
        if (record.typecode == static_cast<std::uint16_t>(type) && record.instance == instance) return at;
        at += descriptor + record.length;
    }
    return at;  // END
}

HvmRecord& record_in(HvmContext& context, HvmType type, std::uint16_t instance = 0) {
    const auto found = std::find_if(context.begin(), context.end(), [&](const HvmRecord& record) {
        return record.typecode == static_cast<std::uint16_t>(type) && record.instance == instance;
    });
    REQUIRE(found != context.end());
    return *found;
}

/// Header and one record, whose body is `size` bytes of `fill`.
Buffer single_record(HvmType type, std::size_t size, std::byte fill = {}) {
    auto bytes = write_hvm_context({build_context().front()});
    bytes.resize(bytes.size() - descriptor);
    append_raw(bytes,
               hvm_save_descriptor{static_cast<std::uint16_t>(type), 0, static_cast<std::uint32_t>(size)});
    bytes.resize(bytes.size() + size, fill);
    append_raw(bytes, hvm_save_descriptor{});
    return bytes;
}

}  // namespace

TEST_CASE("a record of every type is read and written to the same bytes") {
    const auto context = build_context();
    const auto bytes = write_hvm_context(context);
    auto back = read_hvm_context(bytes, 0x1000);
    REQUIRE_MESSAGE(back, vmferry::test::error_text(back));
    REQUIRE(back->size() == context.size());
    CHECK(write_hvm_context(*back) == bytes);

    std::vector<bool> types(HVM_SAVE_CODE_MAX + 1);
    for (std::size_t i = 0; i < context.size(); ++i) {
        const auto& record = (*back)[i];
        CHECK(record.typecode == context[i].typecode);
        CHECK(record.instance == context[i].instance);
        CHECK(record.length == context[i].length);
        CHECK(record.body.index() == context[i].body.index());
        CHECK(record.offset == 0x1000 + offset_of(context, HvmType{record.typecode}, record.instance));
        types[record.typecode] = true;
    }
    CHECK(std::count(types.begin() + 1, types.end(), false) == 0);

    const auto* cpu = find_record<hvm_hw_cpu>(*back, 1);
    REQUIRE(cpu != nullptr);
    CHECK(cpu->rax == std::get<hvm_hw_cpu>(record_in(*back, HvmType::cpu, 1).body).rax);
    CHECK(find_record<hvm_hw_cpu>(*back, 2) == nullptr);
    const auto* lapic = find_record<Lapic>(*back, 1);
    REQUIRE(lapic != nullptr);
    CHECK(lapic->tdt_msr == 0x1122334455667788);
    CHECK(lapic->pending_esr == 0x80);
    CHECK(find_record<Lapic>(*back, 0)->pending_esr == 0);
    const auto* msrs = find_record<CpuMsrs>(*back);
    REQUIRE(msrs != nullptr);
    REQUIRE(msrs->entries.size() == 2);
    CHECK(msrs->entries[1].index == 0xC0011027);
    CHECK(msrs->entries[1].value == ~0ULL);
}

TEST_CASE("CPU of Xen before 3.4 and 4.7") {
    auto context = build_context();
    auto& record = record_in(context, HvmType::cpu);
    auto& written = std::get<hvm_hw_cpu>(record.body);
    for (const std::uint32_t length : {1016U, 1024U}) {
        record.length = length;
        const auto bytes = write_hvm_context(context);
        auto back = read_hvm_context(bytes, 0);
        REQUIRE(back);
        const auto* cpu = find_record<hvm_hw_cpu>(*back);
        REQUIRE(cpu != nullptr);
        CHECK(std::memcmp(cpu, &written, cpu_tsc_aux_at) == 0);
        CHECK(cpu->tsc == written.tsc);
        CHECK(cpu->pending_event == written.pending_event);
        CHECK(cpu->error_code == written.error_code);
        CHECK(cpu->msr_tsc_aux == 0);
        CHECK(cpu->flags == XEN_X86_FPU_INITIALISED);
        CHECK(write_hvm_context(*back) == bytes);
        CHECK(record_in(*back, HvmType::cpu).length == length);
    }
}

TEST_CASE("shorter records of older releases are extended with zeros and written as they were") {
    struct Shorter {
        HvmType type;
        std::uint32_t length;
    };
    for (const auto& [type, length] : {Shorter{HvmType::rtc, 16}, Shorter{HvmType::viridian_domain, 24},
                                       Shorter{HvmType::viridian_vcpu, 16}, Shorter{HvmType::vmce_vcpu, 8}}) {
        CAPTURE(length);
        auto context = build_context();
        record_in(context, type).length = length;
        const auto bytes = write_hvm_context(context);
        const auto back = read_hvm_context(bytes, 0);
        REQUIRE_MESSAGE(back, vmferry::test::error_text(back));
        CHECK(write_hvm_context(*back) == bytes);
        auto extended = *back;
        auto& record = record_in(extended, type);
        CHECK(record.length == length);
        record.length = 0;
        Buffer body;
        append_hvm_body(body, record);
        CHECK(body.size() > length);
        CHECK(std::all_of(body.begin() + length, body.end(), [](std::byte b) { return b == std::byte{0}; }));
    }
}

TEST_CASE("a length of no release is written as the current one") {
    auto context = build_context();
    for (auto& record : context) record.length = 3;
    const auto back = read_hvm_context(write_hvm_context(context), 0);
    REQUIRE_MESSAGE(back, vmferry::test::error_text(back));
    CHECK(record_in(context = *back, HvmType::cpu).length == 1032);
    CHECK(record_in(context, HvmType::lapic, 1).length == 24);
    CHECK(record_in(context, HvmType::rtc).length == 24);
    CHECK(record_in(context, HvmType::vmce_vcpu).length == 32);
}

TEST_CASE("each record is refused in every length that Xen's loader does not take") {
    struct Lengths {
        HvmType type;
        std::vector<std::size_t> good;
    };
    const std::vector<Lengths> table = {
        {HvmType::cpu, {1016, 1024, 1032}},
        {HvmType::pic, {8}},
        {HvmType::ioapic, {400}},
        {HvmType::lapic, {24, 32}},
        {HvmType::lapic_regs, {1024}},
        {HvmType::pci_irq, {16}},
        {HvmType::isa_irq, {8}},
        {HvmType::pci_link, {8}},
        {HvmType::pit, {56}},
        {HvmType::rtc, {16, 24}},
        {HvmType::hpet, {1048}},
        {HvmType::pmtimer, {8}},
        {HvmType::mtrr, {240}},
        {HvmType::viridian_domain, {8, 16, 24, 32}},
        {HvmType::vmce_vcpu, {8, 16, 24, 32}},
        {HvmType::tsc_adjust, {8}},
    };
    for (const auto& [type, good] : table)
        for (std::size_t size = 0; size <= 1100; ++size) {
            const auto back = read_hvm_context(single_record(type, size), 0);
            const bool accepted_length = back.has_value() || back.error().field != "length";
            if (accepted_length != (std::find(good.begin(), good.end(), size) != good.end()))
                FAIL_CHECK(hvm_record_name(static_cast<std::uint16_t>(type)), " of ", size);
        }
}

TEST_CASE("a context that is cut is refused, whatever the place") {
    const auto bytes = write_hvm_context(build_context());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto back = read_hvm_context(Bytes(bytes).first(size), 0);
        REQUIRE_FALSE(back);
        REQUIRE((back.error().field == "descriptor" || back.error().field == "length"));
    }
    auto longer = bytes;
    longer.push_back({});
    const auto back = read_hvm_context(longer, 0);
    REQUIRE_FALSE(back);
    CHECK(back.error().record == "END");
}

TEST_CASE("CPU_XSAVE must be as long as its components, by the policy's offsets") {
    auto context = build_context();
    auto& xsave = std::get<CpuXsave>(record_in(context, HvmType::cpu_xsave, 1).body);
    const CpuidPolicy avx = {{0xD, 0, 7, 832, 832, 0}, {0xD, 2, 256, 576, 0, 0}};
    CHECK(check_xsave_lengths(context, avx));

    // The same components elsewhere: too short.
    const CpuidPolicy elsewhere = {{0xD, 2, 256, 600, 0, 0}};
    const auto too_short = check_xsave_lengths(context, elsewhere);
    REQUIRE_FALSE(too_short);
    CHECK(too_short.error().field == "length");
    CHECK(too_short.error().record == "CPU_XSAVE[0]");

    const CpuidPolicy without = {{0xD, 0, 3, 576, 576, 0}};
    const auto unknown = check_xsave_lengths(context, without);
    REQUIRE_FALSE(unknown);
    CHECK(unknown.error().field == "xcr0_accum");

    xsave.area.resize(900);
    CHECK(check_xsave_lengths(context, avx));
    xsave.area[899] = std::byte{1};
    const auto excess = check_xsave_lengths(context, avx);
    REQUIRE_FALSE(excess);
    CHECK(excess.error().field == "save_area");
    CHECK(excess.error().record == "CPU_XSAVE[1]");
}

}  // namespace vmferry::xen::test
