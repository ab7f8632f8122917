// A QEMU guest and a Xen destination for tests of the plan between them.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "translators/xen_plan.hpp"

namespace vmferry::test {

/// The configuration of a plan; JSON pointers instead of chains of brackets.
struct PlannedConfig {
    explicit PlannedConfig(const XenPlan& plan) : json(nlohmann::json::parse(plan.config)) {}
    nlohmann::json json;
    [[nodiscard]] nlohmann::json at(const char* pointer) const {
        const nlohmann::json::json_pointer where{pointer};
        return json.contains(where) ? json[where] : nlohmann::json();
    }
};

/// The guest: 2 vCPUs, 112 MiB, cirrus with 8 MiB at slot 2, an e1000 at slot 3, an IDE disk, one serial
/// port. The destination: a Xen 4.17 whose policy shows what TCG's `max` shows less what Xen does not know.
struct XenPlanFixture {
    XenPlanFixture();

    std::optional<SourceFacts> facts;
    QemuSource source;
    XenTemplate xen;
    XenDestinationOptions options;
    AuditReport audit;

    /// Requires success.
    XenPlan plan();
    /// Requires an error.
    Error error();
    /// The text of the finding for this rule or subject; empty if there is none.
    [[nodiscard]] std::string finding(std::string_view rule) const;
    void add_block(std::string name, std::uint64_t bytes);
};

/// extra_hvm in one line.
[[nodiscard]] std::string extra_arguments(const nlohmann::json& config);

}  // namespace vmferry::test
