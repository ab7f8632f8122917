// The descriptions: every byte of every HVM record is in a named field, and values are what the record holds.
#include "parsers/xen/describe.hpp"

#include <algorithm>

#include <doctest/doctest.h>

#include "parsers/xen/hvm_bodies.hpp"
#include "parsers/xen/stream_writer.hpp"
#include "tests/parsers/xen/support.hpp"

namespace vmferry::xen::test {

namespace {

/// Marks the bits that the leaves of a description stand for.
void mark(const std::vector<Field>& fields, std::vector<unsigned>& bits) {
    for (const auto& field : fields) {
        CHECK_FALSE(field.name.empty());
        if (field.kind == Field::Kind::group) {
            CHECK_FALSE(field.fields.empty());
            mark(field.fields, bits);
            continue;
        }
        CHECK_FALSE(field.text.empty());
        REQUIRE(field.size > 0);
        const auto first = 8 * field.at + field.bit;
        const auto width = field.width == 0 ? 8 * field.size : field.width;
        REQUIRE(first + width <= bits.size());
        for (auto bit = first; bit < first + width; ++bit) ++bits[bit];
    }
}

const Field* find(const std::vector<Field>& fields, const std::string& path) {
    const auto dot = path.find('/');
    const auto name = path.substr(0, dot);
    for (const auto& field : fields)
        if (field.name == name) return dot == path.npos ? &field : find(field.fields, path.substr(dot + 1));
    return nullptr;
}

std::string value(const Description& description, const std::string& path) {
    const auto* field = find(description.fields, path);
    return field != nullptr ? field->text : "(none)";
}

}  // namespace

TEST_CASE("every bit of every HVM record is described exactly once") {
    for (const auto& record : build_context()) {
        CAPTURE(record.typecode);
        CAPTURE(record.length);
        const auto description = describe(record);
        CHECK(description.layer == "HVM_CONTEXT");
        CHECK(description.name == hvm_record_name(record.typecode));
        std::vector<unsigned> bits(std::size_t{8} * record.length);
        mark(description.fields, bits);
        const auto wrong = std::find_if(bits.begin(), bits.end(), [](unsigned n) { return n != 1; });
        CHECK_MESSAGE(wrong == bits.end(), description.name, ": byte ", (wrong - bits.begin()) / 8);
    }
}

TEST_CASE("values stand in the description as the record has them") {
    const auto context = build_context();
    const auto describe_one = [&](HvmType type, std::uint16_t instance = 0) {
        for (const auto& record : context)
            if (record.typecode == static_cast<std::uint16_t>(type) && record.instance == instance)
                return describe(record);
        return Description{};
    };
    const auto cpu = describe_one(HvmType::cpu, 1);
    const auto* registers = find_record<hvm_hw_cpu>(context, 1);
    CHECK(value(cpu, "rip") == fmt::format("{:#x}", registers->rip));
    CHECK(find(cpu.fields, "rip")->number == registers->rip);
    CHECK(find(cpu.fields, "rip")->at == 640);
    CHECK(value(cpu, "ldtr_arbytes") == fmt::format("{:#x}", registers->ldtr_arbytes));
    CHECK(value(cpu, "pending_vector") == "0xee");
    CHECK(value(cpu, "pending_type") == "3");
    CHECK(value(cpu, "pending_valid") == "1");
    CHECK(value(cpu, "fpu_regs/fcw") == "0x801");
    CHECK(value(cpu, "fpu_regs/xmm/[15]").size() == 32);
    CHECK(find(cpu.fields, "pad0")->reserved);

    CHECK(value(describe_one(HvmType::header), "gtsc_khz") == "2596136");
    CHECK(value(describe_one(HvmType::pic, 1), "elcr") == "0xc");
    CHECK(value(describe_one(HvmType::pic, 0), "is_master") == "1");
    CHECK(value(describe_one(HvmType::pci_link), "route/[3]") == "15");
    CHECK(value(describe_one(HvmType::pit), "channels/[2]/count") == "65536");
    CHECK(value(describe_one(HvmType::lapic, 1), "pending_esr") == "0x80");
    CHECK(value(describe_one(HvmType::lapic, 0), "pending_esr") == "(none)");
    CHECK(value(describe_one(HvmType::cpu_msr), "msr/[1]/index") == "0xc0011027");
    CHECK(value(describe_one(HvmType::cpu_xsave), "xsave_hdr/xstate_bv") == "0x7");
    CHECK(value(describe_one(HvmType::cpu_xsave), "ymm_hi/[0]").size() == 32);

    const auto* ioapic = find_record<hvm_hw_vioapic>(context);
    const auto pin = describe_one(HvmType::ioapic);
    CHECK(find(pin.fields, "redirtbl/[47]/vector")->number == ioapic->redirtbl[47].fields.vector);
    CHECK(find(pin.fields, "redirtbl/[47]/dest_id")->number == ioapic->redirtbl[47].fields.dest_id);
    CHECK(find(pin.fields, "redirtbl/[47]/mask")->number == ioapic->redirtbl[47].fields.mask);
    const auto* lapic = find_record<hvm_hw_lapic_regs>(context);
    std::uint32_t tmict = 0;
    std::memcpy(&tmict, lapic->data + 0x380, sizeof tmict);
    CHECK(find(describe_one(HvmType::lapic_regs).fields, "TMICT")->number == tmict);
    auto rtc = context;
    for (auto& record : rtc)
        if (auto* body = std::get_if<hvm_hw_rtc>(&record.body)) {
            body->rtc_offset = -3600;
            CHECK(value(describe(record), "rtc_offset") == "-3600");
        }
}

TEST_CASE("fields that an older release does not send are left out") {
    auto context = build_context();
    for (auto& record : context) {
        if (record.typecode == static_cast<std::uint16_t>(HvmType::cpu)) {
            record.length = cpu_length_before_3_4;
            const auto cpu = describe(record);
            CHECK(value(cpu, "tsc") == fmt::format("{:#x}", std::get<hvm_hw_cpu>(record.body).tsc));
            CHECK(value(cpu, "msr_tsc_aux") == "(none)");
            CHECK(value(cpu, "flags") == "(none)");
        }
        if (record.typecode == static_cast<std::uint16_t>(HvmType::vmce_vcpu)) {
            record.length = 8;
            CHECK(describe(record).fields.size() == 1);
        }
    }
}

TEST_CASE("records of the stream are described by their fields") {
    const auto stream = build_stream();
    StreamReader reader;
    std::vector<Description> descriptions;
    while (true) {
        const auto step = reader.next(Bytes(stream.bytes).subspan(reader.offset()));
        REQUIRE(step);
        REQUIRE(step->event);
        descriptions.push_back(describe(*step->event));
        if (std::holds_alternative<StreamEnd>(*step->event)) break;
    }
    const auto named = [&](const std::string& name) {
        for (const auto& description : descriptions)
            if (description.name == name) return description;
        return Description{};
    };
    CHECK(value(descriptions[0], "config") == "{ \"c_info\": { \"name\": \"g\" } }");
    CHECK(value(named("domain header"), "xen_minor") == "17");
    CHECK(value(named("X86_CPUID_POLICY"), "0x7:0x0/ebx") == "0x4");
    CHECK(value(named("X86_CPUID_POLICY"), "0x0/eax") == "0xd");
    CHECK(value(named("X86_MSR_POLICY"), "0xce") == "0x80000000");
    CHECK(value(named("optional record"), "type") == "0x80000123");
    const auto batch = named("PAGE_DATA");
    CHECK(value(batch, "count") == "9");
    CHECK(value(batch, "with_data") == "4");
    CHECK(value(batch, "frames/0x100-0x101") == "XTAB");
    CHECK(value(batch, "frames/0x102-0x103") == "normal");
    CHECK(value(batch, "frames/0x104-0x104") == "XALLOC");
    CHECK(value(batch, "frames/0x105-0x105") == "L1TAB");
    CHECK(value(batch, "frames/0x106-0x106") == "BROKEN");
    CHECK(value(batch, "frames/0x107-0x107") == "L1TAB pinned");
    CHECK(value(named("pages"), "first_frame") == "0x102");
    CHECK(value(named("pages"), "pages") == "4");
    CHECK(value(named("X86_TSC_INFO"), "nsec") == "123456789012");
    CHECK(value(named("HVM_PARAMS"), "STORE_PFN") == "0xfeffc");
    CHECK(value(named("HVM_PARAMS"), "ACPI_IOPORTS_LOCATION") == "0x1");
    CHECK(value(named("EMULATOR_XENSTORE_DATA"), "entries/physmap/f0000000/name") == "(none)");
    CHECK(named("EMULATOR_XENSTORE_DATA").fields.back().fields.front().text == "vga.vram");
    CHECK(value(named("EMULATOR_CONTEXT"), "size") == "333");
    CHECK(std::string(hvm_param_name(38)) == "MCA_CAP");
    CHECK(std::string(hvm_param_name(39)).empty());
}

}  // namespace vmferry::xen::test
