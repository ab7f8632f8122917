// One session on standard input and output: `vmferry migrate-receive`, or vmferry under the name xl.
#pragma once

#include <span>
#include <string>

#include "tools/vmferry/destination_arguments.hpp"
#include "tools/vmferry/exit_code.hpp"
#include "tools/vmferry/xl_arguments.hpp"

namespace vmferry::cli {

/// Standard output belongs to the protocol: everything for people goes to stderr.
ExitCode receive(const DestinationArguments& destination, const ReceiveOptions& options, bool dry_run);

/// argv[0] is "xl": its arguments are xl's. The configuration directory is the default one, or
/// $VMFERRY_CONFIG.
ExitCode run_as_xl(std::span<const std::string> arguments);

}  // namespace vmferry::cli
