// The values of the destination's settings, as they are written on the command line and in TOML alike.
#pragma once

#include <functional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "parsers/wire/error.hpp"
#include "translators/destination.hpp"

namespace vmferry::cli {

/// `where`: the option ("--disk") or the place in a file ("destination.toml:7: disk.hda"), for errors of kind
/// usage. Each function stores one value; one that is there already for the same drive, card or key is
/// replaced.
Result<void> set_accel(std::string_view where, std::string_view value, DestinationOptions& options);
/// PATH[,format=FORMAT][,more -drive options]; a comma inside the path is doubled, as QEMU wants it.
Result<void> set_disk(std::string_view where, std::string_view vdev, std::string_view value,
                      DestinationOptions& options);
Result<void> set_nic(std::string_view where, std::string_view devid, std::string_view value,
                     DestinationOptions& options);
Result<void> set_setting(std::string_view where, std::string_view key, std::string_view value,
                         DestinationOptions& options);
/// Only the names of risks are taken: what is impossible cannot be allowed.
Result<void> allow_rule(std::string_view where, std::string_view rule,
                        std::set<std::string, std::less<>>& allow);
/// KEY: start, twin, peer, load or permission.
Result<void> set_timeout(std::string_view where, std::string_view key, std::string_view seconds,
                         DestinationOptions& options);

/// "KEY=VALUE" cut at the first '='.
[[nodiscard]] Result<std::pair<std::string_view, std::string_view>> split_pair(std::string_view where,
                                                                               std::string_view pair);

/// Replaces {name} and {uuid} in every value. Error (kind refused): `name` or `uuid` has a character that is
/// not safe in a path or in one of QEMU's option lists.
Result<void> fill_placeholders(DestinationOptions& options, std::string_view name, std::string_view uuid);
Result<void> fill_placeholders(std::span<std::string* const> texts, std::string_view name,
                               std::string_view uuid);

/// The text up to the next single comma, with ",," as one comma; `rest` moves behind it.
[[nodiscard]] std::string take_element(std::string_view& rest);

}  // namespace vmferry::cli
