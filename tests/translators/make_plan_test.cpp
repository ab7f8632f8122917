#include <doctest/doctest.h>

#include "tests/translators/plan_fixture.hpp"
#include "translators/shell_quote.hpp"

using namespace vmferry;
using namespace vmferry::test;

TEST_CASE("plan: the recorded guest") {
    PlanCase guest;
    const auto plan = guest.good();
    MESSAGE(shell_quote(plan.arguments));
    MESSAGE(shell_quote(plan.twin_arguments));
}
