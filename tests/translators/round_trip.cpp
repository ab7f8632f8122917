// A guest that goes to QEMU and back finds the records that it left, except where a law says otherwise.
#include "translators/round_trip.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <set>

#include <doctest/doctest.h>

#include "tests/error_text.hpp"
#include "tests/translators/way_back_fixture.hpp"

namespace vmferry {
namespace {

using Exceptions = std::span<const RoundTripException>;

/// Every difference is in the list, and is noted in `seen`.
void check_listed(const test::Differences& found, Exceptions exceptions, std::set<std::string>& seen) {
    for (const auto& [field, values] : found) {
        CHECK_MESSAGE(std::ranges::find(exceptions, field, &RoundTripException::field) != exceptions.end(),
                      field << ": " << values);
        seen.insert(field);
    }
}

/// An exception that never happens would only hide the next fault.
void check_seen(Exceptions exceptions, const std::set<std::string>& seen) {
    for (const auto& exception : exceptions)
        CHECK_MESSAGE(seen.contains(std::string(exception.field)), exception.field);
}

std::string table_of(Exceptions exceptions) {
    std::string text;
    for (const auto& [field, reason] : exceptions) text += fmt::format("| `{}` | {} |\n", field, reason);
    return text;
}

}  // namespace

TEST_CASE("Xen → QEMU → Xen: the same records, but for the exceptions that are listed") {
    std::set<std::string> seen;
    for (const auto* capture : {"xen-4.17-trimmed.up.zst", "xen-4.20-linux-2vcpu-e1000-ide.up.zst"}) {
        const auto recorded = test::load_source(capture);
        for (const auto accel : {Accel::tcg, Accel::kvm}) {
            CAPTURE(capture);
            CAPTURE(accel == Accel::kvm);
            test::Crossing guest(accel);
            guest.source = recorded;
            const auto image = guest.good();
            const QemuSource source{.machine = "pc-i440fx-7.2", .blocks = {}, .tree = image.tree};
            AuditReport audit;
            const auto plan = test::plan_of(guest.source, guest.plan);
            const auto back =
                translate_to_xen(source, plan, guest.source, test::Crossing::realtime_ns, audit);
            REQUIRE_MESSAGE(back, test::error_text(back));
            REQUIRE_FALSE(audit.refused());
            check_listed(test::differences(guest.source.context, back->context), xen_round_trip_exceptions(),
                         seen);
            const auto params = test::differences(guest.source.params, back->params);
            CHECK_MESSAGE(params.empty(), (params.empty() ? "" : params.begin()->first));
        }
    }
    check_seen(xen_round_trip_exceptions(), seen);
}

TEST_CASE("QEMU → Xen → QEMU: the same sections, but for the exceptions that are listed") {
    std::set<std::string> seen;
    struct Row {
        const char* capture;
        Accel accel;
    };
    static const auto xen = test::load_source("xen-4.17-trimmed.up.zst");
    for (const auto& [capture, accel] : {Row{"qemu-7.2/q22-i440fx-irq-run.bin.zst", Accel::tcg},
                                         Row{"qemu-7.2/q18-i440fx-smp6-sparse-apicid-S.bin.zst", Accel::tcg},
                                         Row{"qemu-10.0/kvm-i440fx.bin.zst", Accel::kvm}}) {
        CAPTURE(std::string(capture));
        auto there = qemu::read_snapshot(test::load_capture(capture));
        REQUIRE_MESSAGE(there, test::error_text(there));
        // A destination is started without VMware's port.
        std::erase_if(there->tree.sections,
                      [](const qemu::Section& section) { return section.idstr == "vmmouse"; });
        QemuSource source{.machine = there->machine, .blocks = there->blocks, .tree = there->tree};
        XenPlan to_xen;
        to_xen.accel = accel;
        to_xen.cpuid = xen.cpuid;
        to_xen.tsc_khz = 2'000'000;
        to_xen.vcpus = 0;
        Plan plan;
        plan.accel = accel;
        plan.firmware = Firmware::seabios_on_qemu;
        for (const auto& section : there->tree.sections) {
            if (section.idstr == "cpu") ++to_xen.vcpus;
            if (section.idstr == "apic")
                plan.vcpu.push_back({static_cast<unsigned>(plan.vcpu.size()), section.instance});
        }
        if (const auto* first = there->tree.find("cpu"); first->subsection("cpu/tsc_khz"))
            to_xen.tsc_khz = static_cast<std::uint32_t>(*first->get("+cpu/tsc_khz|env.tsc_khz"));
        // The instant of the stream: the RTC stands where it stood.
        const auto now = test::value(there->tree, "mc146818rtc", "last_update");
        AuditReport audit({"kvm-paravirtual", "device-left-out", "vcpu-tsc"});
        const auto image = translate_to_xen(source, to_xen, xen, now, audit);
        REQUIRE_MESSAGE(image, test::error_text(image));
        REQUIRE_MESSAGE(!audit.refused(), audit.error().text());

        XenSource back;
        back.config.max_vcpus = to_xen.vcpus;
        back.cpuid = xen.cpuid;
        back.context = image->context;
        back.params = image->params;
        back.device_model = image->device_model;
        const auto home = translate_to_qemu(back, plan, *there, now, audit);
        REQUIRE_MESSAGE(home, test::error_text(home));
        REQUIRE_MESSAGE(!audit.refused(), audit.error().text());
        check_listed(test::differences(there->tree, home->tree), qemu_round_trip_exceptions(), seen);
    }
    check_seen(qemu_round_trip_exceptions(), seen);
}

TEST_CASE("docs/round-trip.md has the same tables") {
    std::ifstream file(VMFERRY_SOURCE_DIR "/docs/round-trip.md");
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    CHECK(text.find(table_of(xen_round_trip_exceptions())) != std::string::npos);
    CHECK(text.find(table_of(qemu_round_trip_exceptions())) != std::string::npos);
}

}  // namespace vmferry
