// Questions to a running QEMU whose answers are checked.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "parsers/wire/error.hpp"
#include "proxy/loop.hpp"
#include "proxy/qmp.hpp"
#include "proxy/time_limits.hpp"

namespace vmferry {

/// QMP commands with answers whose form is checked. Errors of kind environment quote what came instead.
class SourceQuestions {
  public:
    SourceQuestions(Loop& loop, QmpClient& qmp, const TimeLimits& limits)
        : loop_(loop), qmp_(qmp), limits_(limits) {}

    [[nodiscard]] Result<nlohmann::json> ask(const char* command) const;
    [[nodiscard]] Result<nlohmann::json> list(const std::string& path) const;  ///< qom-list: an array
    [[nodiscard]] Result<nlohmann::json> get(const std::string& path, const char* property) const;
    [[nodiscard]] Result<std::string> text(const std::string& path, const char* property) const;
    [[nodiscard]] Result<std::uint64_t> number(const std::string& path, const char* property) const;

    /// A member of an answer, found by JSON pointer.
    [[nodiscard]] static Result<std::string> text_in(const nlohmann::json& answer, const char* pointer,
                                                     const char* command);
    [[nodiscard]] static Result<std::uint64_t> number_in(const nlohmann::json& answer, const char* pointer,
                                                         const char* command);

  private:
    Loop& loop_;
    QmpClient& qmp_;
    const TimeLimits& limits_;
};

}  // namespace vmferry
