// Whether a file is a recording of the kind that a subcommand was told to expect.
#pragma once

#include <string>

#include "parsers/wire/error.hpp"
#include "proxy/input_file.hpp"

namespace vmferry::cli {

/// What goes to QEMU (`xl migrate`, `xl save`), and what goes to Xen (QEMU's migrate). Error of kind stream:
/// it is no migration stream at all; of kind usage: it is one of another kind.
Result<void> check_xen_stream(const InputFile& file, const std::string& path);
Result<void> check_qemu_stream(const InputFile& file, const std::string& path);

}  // namespace vmferry::cli
