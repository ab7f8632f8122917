// The command lines of a plan.
#pragma once

#include "translators/destination.hpp"
#include "translators/plan.hpp"

namespace vmferry {

/// Fills plan.arguments and plan.twin_arguments from the rest of the plan. The two differ only in what the
/// guest does not see: images, networks, character devices, display.
void write_arguments(Plan& plan, const DestinationOptions& options);

}  // namespace vmferry
