// Templates on disk: what a twin told, for each (binary, firmware files, arguments) that was asked for once.
//
//     DIR/KEY.twin:  "vmferry twin 1\n" · SHA-256 of what follows (64 hex) "\n" · zstd of (be32 length, CPU
//     facts
//                     as JSON, stream)
//
// KEY is the SHA-256 of the contents of the binary and of the firmware files that it can load, of every file
// that an argument names, and of the arguments. An entry that is not whole is not used and made anew.
#pragma once

#include <optional>
#include <string>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/twin.hpp"

namespace vmferry {

class TemplateCache {
  public:
    /// `directory` is made when it is first written to; empty: nothing is kept.
    explicit TemplateCache(std::string directory) : directory_(std::move(directory)) {}

    /// From the cache, or from a twin that is then kept. A cache that cannot be written is no error.
    [[nodiscard]] Result<Twin> twin(Loop& loop, const TwinRequest& request, const TimeLimits& limits);

    [[nodiscard]] Result<std::string> key(Loop& loop, const TwinRequest& request,
                                          const TimeLimits& limits) const;
    [[nodiscard]] std::optional<Twin> load(const std::string& key) const;
    void store(const std::string& key, const Twin& twin) const;

  private:
    [[nodiscard]] std::string file(const std::string& key) const { return directory_ + "/" + key + ".twin"; }
    std::string directory_;
};

/// $XDG_CACHE_HOME/vmferry or ~/.cache/vmferry; /var/cache/vmferry for root.
[[nodiscard]] std::string default_cache_directory();

/// The binary's path, looked up in PATH if it has no slash.
[[nodiscard]] Result<std::string> find_binary(const std::string& name);

}  // namespace vmferry
