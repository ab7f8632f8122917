// A guest that goes to QEMU and back finds the records that it left, except where a law says otherwise.
#include "translators/round_trip.hpp"

#include <algorithm>
#include <set>

#include <doctest/doctest.h>

#include "tests/error_text.hpp"
#include "tests/translators/way_back_fixture.hpp"

namespace vmferry {
namespace {

bool listed(std::string_view field) {
    const auto exceptions = xen_round_trip_exceptions();
    return std::ranges::find(exceptions, field, &RoundTripException::field) != exceptions.end();
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
            for (const auto& [field, values] : test::differences(guest.source.context, back->context)) {
                CHECK_MESSAGE(listed(field), field << ": " << values);
                seen.insert(field);
            }
            const auto params = test::differences(guest.source.params, back->params);
            CHECK_MESSAGE(params.empty(), (params.empty() ? "" : params.begin()->first));
        }
    }
    // An exception that never happens would only hide the next fault.
    for (const auto& exception : xen_round_trip_exceptions())
        CHECK(seen.contains(std::string(exception.field)));
}

}  // namespace vmferry
