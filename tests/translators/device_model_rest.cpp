// Bytes behind the end of the device model's state: the operator decides.
#include <doctest/doctest.h>

#include "tests/translators/machine_fixture.hpp"

using namespace vmferry;
using namespace vmferry::test;

TEST_CASE("a device model's state without a rest raises no question") {
    Crossing crossing;
    REQUIRE(crossing.source.device_model.rest == 0);
    static_cast<void>(crossing.good());
    CHECK_FALSE(crossing.refused("device-model-rest"));
}

TEST_CASE("bytes behind the end of the device model's state are refused, unless they are accepted") {
    Crossing crossing;
    crossing.source.device_model.rest = 17;
    static_cast<void>(crossing.good());
    CHECK(crossing.refused("device-model-rest"));
    CHECK(crossing.audit.error().text().find("17 bytes") != std::string::npos);

    Crossing accepted;
    accepted.source.device_model.rest = 17;
    accepted.audit = AuditReport({"device-model-rest"});
    static_cast<void>(accepted.good());
    CHECK(accepted.reported(Verdict::allowed, "device-model-rest"));
}
