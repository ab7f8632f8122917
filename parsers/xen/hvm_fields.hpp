// The fields of the HVM save records as tables: name, place, and how a value is shown.
#pragma once

#include <cstdint>
#include <span>

#include "parsers/xen/hvm_bodies.hpp"

namespace vmferry::xen {

enum class Show : std::uint8_t { decimal, signed_decimal, hexadecimal, bytes, reserved };

struct FieldSpec {
    const char* name;
    std::uint16_t at;    ///< from the beginning of the structure, or of the group's element
    std::uint16_t size;  ///< bytes of one element
    Show show = Show::hexadecimal;
    std::uint16_t count = 1;                  ///< elements of an array
    std::uint8_t bit = 0, width = 0;          ///< width 0: all of its bytes
    std::span<const FieldSpec> element = {};  ///< a structure inside
};

/// Of the current structure. For CPU_XSAVE and CPU_MSR, which have no fixed size, the fixed part.
[[nodiscard]] std::span<const FieldSpec> hvm_field_specs(HvmType type);

/// One entry of CPU_MSR; ymm halves of CPU_XSAVE, the only component that has one place in all CPUs.
[[nodiscard]] std::span<const FieldSpec> msr_entry_specs();
[[nodiscard]] std::span<const FieldSpec> xsave_ymm_specs();

}  // namespace vmferry::xen
