// The destination's settings as a TOML file: the same keys as the options of the command line.
//
//     qemu = "/usr/bin/qemu-system-x86_64"      [disk]
//     accel = "kvm"                             hda = "/dev/vg0/{name},format=raw"
//     serial = "file:/var/log/vmferry/{name}"   [nic]
//     display = "none"                          0 = "tap,ifname=tap-{name},script=no,downscript=no"
//     qmp = "/run/vmferry/{name}.qmp"           [set]
//     allow = ["lapic-frequency"]               cpu = "host"
//     extra = ["-device", "virtio-rng-pci"]
//
// A directory holds destination.toml (what all guests share) and guests/NAME.toml (what one guest adds or
// replaces). {name} and {uuid} stand for those of the guest that arrives.
#pragma once

#include <string>
#include <string_view>

#include "parsers/wire/error.hpp"
#include "translators/destination.hpp"

namespace vmferry::cli {

inline constexpr std::string_view default_configuration = "/etc/vmferry";

/// Reads one file over `options`: a key that is there replaces or, in [disk], [nic], [set] and allow, adds.
/// Errors (kind usage) name file, line and key: syntax, unknown key, wrong type.
Result<void> read_destination_file(const std::string& path, DestinationOptions& options);

/// Reads a directory's destination.toml over `options`, if there is one.
Result<void> read_common_settings(const std::string& directory, DestinationOptions& options);
/// destination.toml and guests/NAME.toml of a directory. A missing destination.toml is as good as an empty
/// one; a guest without a file of its own is refused (kind refused). `name` comes from a stream: one that is
/// no plain file name is refused.
[[nodiscard]] Result<DestinationOptions> read_configuration_directory(const std::string& directory,
                                                                      const std::string& name);
/// Reads all files of a directory, to find mistakes before a guest arrives.
Result<void> check_configuration_directory(const std::string& directory);

}  // namespace vmferry::cli
