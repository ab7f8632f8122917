// CPUID feature bits: QEMU's names for them, and which ones are mere hints.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "translators/destination.hpp"

namespace vmferry {

/// One 32-bit CPUID register that holds feature bits.
struct CpuidWord {
    std::uint32_t leaf = 0, subleaf = 0;
    CpuidRegister reg = CpuidRegister::eax;
    bool operator==(const CpuidWord&) const = default;
};

/// The words in which a bit says that the guest may do something; all other leaves are data.
[[nodiscard]] std::span<const CpuidWord> feature_words();

/// A bit that QEMU's -cpu has a name for.
struct NamedFeature {
    CpuidWord word;
    unsigned bit = 0;
    std::string_view name;
    bool tcg = false;  ///< TCG, too, can show it
};
/// What may be said to any QEMU ≥ 7.2: `-cpu …,NAME=off`. Only features that a destination could have on.
[[nodiscard]] std::span<const NamedFeature> named_features();

/// QEMU's name, or "CPUID 7.0 EBX bit 9".
[[nodiscard]] std::string feature_name(const CpuidWord& word, unsigned bit);

/// Why the guest can do without this bit, although it saw it; empty if it cannot.
[[nodiscard]] std::string_view dispensable(const CpuidWord& word, unsigned bit);

}  // namespace vmferry
