// What a running QEMU says of itself over QMP, before it migrates: all that no stream says.
//
//     query-version, -name, -uuid, -kvm, -cpus-fast, -hotpluggable-cpus, -memory-size-summary,
//     -memory-devices qom-list from /machine downwards → every device (proxy/source_devices) query-block →
//     which drive has which medium qom-get on the first CPU → model, features, address width, TSC frequency
//
// Only questions: the guest goes on meanwhile, and nothing is changed.
#pragma once

#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/qmp.hpp"
#include "proxy/time_limits.hpp"
#include "translators/qemu_source.hpp"

namespace vmferry {

/// Precondition: qmp.ready(). Errors (kind environment): an answer is missing or is not of the form that QEMU
/// documents. A device that is not known is no error: it stands in `others`. Of a machine that is neither of
/// the pc-i440fx nor of the pc-q35 line only its identity is read (up to `uuid`).
[[nodiscard]] Result<SourceFacts> read_source_facts(Loop& loop, QmpClient& qmp, const TimeLimits& limits);

}  // namespace vmferry
