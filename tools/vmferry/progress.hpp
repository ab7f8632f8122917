// How far a long step is: a bar with rate and remaining time on a terminal, now and then a plain line
// otherwise. Always on stderr.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace vmferry::cli {

class Progress {
  public:
    struct Values {
        std::uint64_t bytes = 0;  ///< carried so far
        std::uint64_t total = 0;  ///< 0: not known, no bar and no remaining time
        std::uint64_t done = 0;   ///< of `total`, in its unit
        unsigned passes = 0;      ///< 0: not shown
    };

    /// `label` stands first on the line. `shown` false: prints nothing (--json, --quiet).
    Progress(std::string label, bool shown);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// Cheap; draws at most ten times a second on a terminal, every five seconds elsewhere.
    void update(const Values& values);
    /// Takes the bar away, or ends it with what was reached.
    void finish();

  private:
    using Clock = std::chrono::steady_clock;
    void draw(const Values& values, Clock::time_point now);

    std::string label_;
    bool shown_, terminal_;
    bool drawn_ = false, finished_ = false;
    Clock::time_point start_, last_;
    Values values_;
};

/// "12.3 MiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

}  // namespace vmferry::cli
