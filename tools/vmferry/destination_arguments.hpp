// The destination's options on the command line, shared by all subcommands that need a destination:
//
//     --qemu BINARY --accel tcg|kvm --disk hda=PATH[,format=raw] --nic 0=NETDEV-ARGS --serial CHARDEV
//     --display D --qmp SOCKET --name N --set KEY=VALUE --allow RULE --config FILE|DIR … -- extra QEMU args
//
// What the command line says goes before what a file says.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parsers/wire/error.hpp"
#include "tools/vmferry/command.hpp"
#include "translators/destination.hpp"

namespace vmferry::cli {

class DestinationArguments {
  public:
    /// Adds the options to a subcommand; they are read by options() after parsing. Lives as long as `app`
    /// parses.
    void add_to(CLI::App& app, const Invocation& invocation);

    /// For subcommands with one guest: --config names a file.
    [[nodiscard]] Result<DestinationOptions> options() const;

    /// For subcommands that wait for guests: --config names a directory or a file; without it, and without
    /// any other option of the destination, it is the default directory. Checks at once what can be known
    /// without a guest.
    Result<void> check_configuration() const;
    /// The destination of the guest that has arrived, placeholders replaced.
    [[nodiscard]] Result<DestinationOptions> options_for(const std::string& name,
                                                         const std::string& uuid) const;

    /// --state-dir, or what the configuration says, or the default.
    [[nodiscard]] std::string state_directory() const;
    void set_config(std::string path) { given_.config = std::move(path); }

    /// The values of the options that a Xen destination has too, unread.
    struct Texts {
        std::string config, name, state_directory;
        std::vector<std::string> disks, nics, serial, set, allow, timeouts;
    };
    [[nodiscard]] const Texts& texts() const { return given_; }
    /// Error of kind usage if an option was given that only a QEMU has.
    Result<void> check_no_qemu() const;

  private:
    Result<void> apply(DestinationOptions& options) const;
    [[nodiscard]] bool has_dashes() const;
    [[nodiscard]] bool any_given() const;
    [[nodiscard]] std::string directory() const;  ///< empty: one set of options for all guests

    const Invocation* invocation_ = nullptr;  ///< null: there are no words behind "--"
    Texts given_;
    std::string qemu_, accel_, display_, qmp_, template_;
};

}  // namespace vmferry::cli
