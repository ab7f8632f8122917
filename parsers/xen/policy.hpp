// CPUID and MSR policy records of the libxc stream: what the guest's CPU shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace vmferry::xen {

struct CpuidLeaf {
    static constexpr std::uint32_t no_subleaf = 0xFFFFFFFF;
    std::uint32_t leaf = 0, subleaf = no_subleaf;
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
using CpuidPolicy = std::vector<CpuidLeaf>;
inline constexpr std::size_t cpuid_leaf_size = 24;  ///< on the wire

/// The entry for this leaf; a leaf without subleaves is found with any `subleaf`.
[[nodiscard]] inline const CpuidLeaf* find_leaf(const CpuidPolicy& policy, std::uint32_t leaf,
                                                std::uint32_t subleaf = 0) {
    for (const auto& entry : policy)
        if (entry.leaf == leaf && (entry.subleaf == subleaf || entry.subleaf == CpuidLeaf::no_subleaf))
            return &entry;
    return nullptr;
}

struct MsrPolicyEntry {
    std::uint32_t index = 0;
    std::uint64_t value = 0;
};
using MsrPolicy = std::vector<MsrPolicyEntry>;

}  // namespace vmferry::xen
