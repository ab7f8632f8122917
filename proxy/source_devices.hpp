// The devices of a running QEMU, found in its object tree:
//
//     /machine ── i440fx …                        the machine's own
//              ├─ unattached ── device[n] …       CPUs, chipset, default devices, `-drive if=ide`
//              ├─ peripheral ── ID …              -device with id
//              └─ peripheral-anon ── device[n] …  -device without
//
// A device is what has a property "hotpluggable" (buses and CPUs' parts do not). Where it is attached says
// its "parent_bus": the machine's PCI bus, an IDE bus, a USB or ISA bus, or a bus that another device brings
// along.
#pragma once

#include <cstddef>

#include "parsers/wire/error.hpp"
#include "proxy/source_questions.hpp"
#include "translators/qemu_source.hpp"

namespace vmferry {

inline constexpr std::size_t max_source_objects = 4096;  ///< of which the tree may consist

/// Fills the members of `facts` that describe devices (vga … hpet) and DIMMs.
Result<void> read_source_devices(const SourceQuestions& questions, SourceFacts& facts);

}  // namespace vmferry
