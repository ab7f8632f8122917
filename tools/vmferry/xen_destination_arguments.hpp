// The options of a Xen destination on the command line (`--to xl`), shared by all subcommands that take one:
//
//     --to xl --xen-template FILE --source-qmp SOCKET --domain-config FILE
//     --disk hda=PATH[,format=raw][,backend=phy] --nic 0=BRIDGE --serial pty --name N --set KEY=VALUE
//     --allow RULE --config FILE
//
// The second and third line are options of DestinationArguments, read with another meaning.
#pragma once

#include <string>

#include "parsers/wire/error.hpp"
#include "tools/vmferry/destination_arguments.hpp"
#include "tools/vmferry/xen_destination_keys.hpp"

namespace vmferry::cli {

class XenDestinationArguments {
  public:
    /// Adds the options to a subcommand that has those of `shared` too; both live as long as `app` parses.
    void add_to(CLI::App& app, const DestinationArguments& shared);
    /// The same for a subcommand that hands guests over to xl: without --to, with --xl-command.
    void add_live_to(CLI::App& app, const DestinationArguments& shared);
    /// The same with --to, where the destination may be either.
    void add_either_to(CLI::App& app, const DestinationArguments& shared);

    /// --to xl was given.
    [[nodiscard]] bool chosen() const { return to_ == "xl"; }
    /// What --config and the command line say. Errors (kind usage) also for an option that only a QEMU
    /// destination has, and for one of a Xen destination without --to xl.
    [[nodiscard]] Result<XenDestinationSettings> settings() const;
    /// Without --to xl: nothing of a Xen destination may have been given.
    Result<void> check_absent() const;

  private:
    void add_choice(CLI::App& app);
    void add_common(CLI::App& app, const DestinationArguments& shared);

    const DestinationArguments* shared_ = nullptr;
    std::string to_ = "qemu", xen_template_, source_qmp_, domain_config_, xl_command_;
};

}  // namespace vmferry::cli
