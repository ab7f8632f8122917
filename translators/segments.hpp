// Segment attributes: Xen's arbytes against the second dword of a descriptor, which is how QEMU keeps them.
//
//     attributes   0–3 type · 4 S · 5–6 DPL · 7 P ·            8 AVL ·  9 L · 10 D/B · 11 G
//     descriptor   8–11 type · 12 S · 13–14 DPL · 15 P ·      20 AVL · 21 L · 22 D/B · 23 G
//
// SDM vol. 3, 3.4.5; the gap holds bits of the limit, the rest bits of the base.
#pragma once

#include <cstdint>

namespace vmferry {

[[nodiscard]] constexpr std::uint32_t descriptor_of_attributes(std::uint32_t attributes) {
    return (attributes & 0x0FF) << 8 | (attributes & 0xF00) << 12;
}
[[nodiscard]] constexpr std::uint32_t attributes_of_descriptor(std::uint32_t descriptor) {
    return (descriptor >> 8 & 0x0FF) | (descriptor >> 12 & 0xF00);
}

}  // namespace vmferry
