// The settings of a Xen destination, as they are written on the command line and in TOML alike.
//
//     xl_command = "ssh xenhost xl migrate-receive"    [disk]
//     xen_template = "/etc/vmferry/xenhost.zst"        hda = "/dev/vg0/{name},backend=phy"
//     source_qmp = "/run/qemu/web1.qmp"                [nic]
//     domain_config = "/etc/vmferry/web1.json"         0 = "xenbr0"
//     serial = "pty"                                   [set]
//     allow = ["cpu-features"]                         tsc_mode = "native"
//
// {name} and {uuid} stand for those of the guest that migrates.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/error.hpp"
#include "translators/destination.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry::cli {

struct XenDestinationSettings {
    XenDestinationOptions options;  ///< domain_config is the file's path here, see load_domain_config()
    std::string xen_template;       ///< file; empty: none
    std::string source_qmp;         ///< QMP socket of the source; empty: none
    std::string xl_command;         ///< what speaks `xl migrate-receive`; empty: none
    std::string state_directory = "/var/lib/vmferry";
    std::string spill_directory = "/var/tmp";
    std::uint64_t spill_bytes = 1u << 30;
};

/// Keys of [set] and --set with a sentence each.
[[nodiscard]] const std::vector<Setting>& known_xen_settings();

/// `where`: the option or the place in a file, for errors of kind usage. One that is there already is
/// replaced. PATH[,format=FORMAT][,backend=phy|qdisk]; a comma inside the path is doubled.
Result<void> set_xen_disk(std::string_view where, std::string_view name, std::string_view value,
                          XenDestinationOptions& options);
/// BRIDGE[,script=PATH]
Result<void> set_xen_nic(std::string_view where, std::string_view name, std::string_view value,
                         XenDestinationOptions& options);
Result<void> set_xen_setting(std::string_view where, std::string_view key, std::string_view value,
                             XenDestinationOptions& options);

/// Reads a TOML file over `settings`: a key that is there replaces or, in [disk], [nic], [set] and allow,
/// adds.
Result<void> read_xen_destination_file(const std::string& path, XenDestinationSettings& settings);

/// Puts the text of the file that options.domain_config names in its place. Error (kind environment).
Result<void> load_domain_config(XenDestinationOptions& options);
/// Replaces {name} and {uuid} in every value.
Result<void> fill_placeholders(XenDestinationOptions& options, std::string_view name, std::string_view uuid);

}  // namespace vmferry::cli
