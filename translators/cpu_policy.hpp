// The guest's CPU: from Xen's CPUID policy to QEMU's -cpu, and whether what QEMU then shows is enough.
//
//     policy → cpu_identity() → cpu_argument() → (the twin runs) → check_cpu()
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/error.hpp"
#include "parsers/xen/policy.hpp"
#include "translators/audit.hpp"
#include "translators/destination.hpp"

namespace vmferry {

/// Who the guest's CPU says that it is. Family and model with their extended parts, as QEMU takes them.
struct CpuIdentity {
    std::string_view vendor;  ///< one of the known vendors: a constant of ours, never the stream's bytes
    unsigned family = 0, model = 0, stepping = 0;
    bool operator==(const CpuIdentity&) const = default;
};

/// Error (kind stream, offset from the policy's first leaf) for a policy without leaf 0 or 1, or with a
/// vendor that no x86 CPU has.
[[nodiscard]] Result<CpuIdentity> cpu_identity(const xen::CpuidPolicy& policy);

/// QEMU's -cpu: the accelerator's fullest model, given the guest's identity (under KVM the host's vendor
/// remains), with every feature switched off that the guest did not see. `base` replaces the model and what
/// follows it, if not empty (the operator's choice, taken as it is). Without a policy: the model alone.
[[nodiscard]] Result<std::string> cpu_argument(const xen::CpuidPolicy& policy, Accel accel,
                                               std::string_view base);

/// Compares the destination's CPU, as the twin shows it, with what the guest saw; findings go into `audit`.
/// Precondition: the plan was made from the same policy.
void check_cpu(const xen::CpuidPolicy& policy, Accel accel, const CpuFacts& facts, AuditReport& audit);

/// Feature bits as a CPU shows them, one register for each of feature_words().
using FeatureBits = std::vector<std::uint32_t>;
[[nodiscard]] FeatureBits shown_features(const xen::CpuidPolicy& policy);
[[nodiscard]] FeatureBits shown_features(const CpuFacts& facts);
/// What the guest saw against what it gets: rule cpu-features, and what is adapted.
void compare_features(const FeatureBits& saw, const FeatureBits& gets, AuditReport& audit);

/// TCG's XSAVE area: the standard format of Intel's manual, volume 1, chapter 13, whatever CPU it imitates.
[[nodiscard]] std::span<const XsaveComponent> tcg_xsave_layout();
/// Where this host's CPU keeps its XSAVE components: what KVM shows to guests. Empty without XSAVE.
[[nodiscard]] std::vector<XsaveComponent> host_xsave_layout();

}  // namespace vmferry
