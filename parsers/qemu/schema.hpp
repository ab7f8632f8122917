// Our own description of the sections that a Xen device model's blob can hold, in a declarative form.
//
// The blob has no lengths, no footers and no description, so its layout must be known. A Spec lists the
// fields of one QEMU description ("vmsd") in wire order, under the names that QEMU's own description gives
// them, and the subsections that may follow:
//
//     field · field · … · [05 · u8 n · n bytes of name · be32 version · its fields · its subsections] …
//
// Presence of a field can depend on the version in the section head (`since`), on an earlier field (`when`),
// or on a property of the device that is not in the stream (`in`/`not_in` a Layout): such a section is
// tried in each of its layouts, and exactly one must end where a section head or EOF follows.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace vmferry::qemu::schema {

struct Spec;

/// A set of bits, each a property of a device that changes its layout. 0: the only or the usual one.
using Layout = std::uint8_t;

struct FieldSpec {
    std::string_view name;
    std::string_view type;
    std::string_view count_field = {};  ///< earlier field of the same Spec that holds the number of elements
    std::string_view present_if = {};   ///< earlier integer field of the same Spec that must not be 0
    const Spec* structure = nullptr;    ///< for "struct" and "tmp"
    std::uint64_t least = 0;            ///< accepted values of each element, zero-extended
    std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    std::uint32_t size = 0;      ///< bytes of one element; 0 for structures
    std::uint32_t elements = 1;  ///< their number, if it is fixed
    std::uint32_t since = 0;     ///< first version of the description that has the field
    bool count_open = false;     ///< the number is not in the stream at all: whatever makes the section fit
    Layout with = 0;             ///< all these bits are set in the layout
    Layout without = 0;          ///< none of these

    [[nodiscard]] constexpr FieldSpec array(std::uint32_t n) const {
        auto copy = *this;
        copy.elements = n;
        return copy;
    }
    [[nodiscard]] constexpr FieldSpec counted_by(std::string_view field) const {
        auto copy = *this;
        copy.count_field = field;
        return copy;
    }
    [[nodiscard]] constexpr FieldSpec any_number() const {
        auto copy = *this;
        copy.count_open = true;
        return copy;
    }
    [[nodiscard]] constexpr FieldSpec from(std::uint32_t version) const {
        auto copy = *this;
        copy.since = version;
        return copy;
    }
    [[nodiscard]] constexpr FieldSpec when(std::string_view field) const {
        auto copy = *this;
        copy.present_if = field;
        return copy;
    }
    [[nodiscard]] constexpr FieldSpec in(Layout bits) const {
        auto copy = *this;
        copy.with = static_cast<Layout>(copy.with | bits);
        return copy;
    }
    [[nodiscard]] constexpr FieldSpec not_in(Layout bits) const {
        auto copy = *this;
        copy.without = static_cast<Layout>(copy.without | bits);
        return copy;
    }
    [[nodiscard]] constexpr FieldSpec between(std::uint64_t low, std::uint64_t high) const {
        auto copy = *this;
        copy.least = low;
        copy.most = high;
        return copy;
    }
    [[nodiscard]] constexpr FieldSpec typed(std::string_view word) const {
        auto copy = *this;
        copy.type = word;
        return copy;
    }
};

struct Spec {
    std::string_view vmsd_name;
    std::uint32_t version = 1;      ///< newest known
    std::uint32_t min_version = 1;  ///< oldest known
    std::span<const FieldSpec> fields = {};
    std::span<const Spec* const> subsections = {};
};

/// A layout that a section may have, and a sign that it has not.
struct LayoutChoice {
    Layout layout = 0;
    std::string_view unless_section = {};  ///< impossible if the blob had a section of this name before
};

/// A description that is a section of its own; the name after the last '/' of the idstr is its vmsd name.
struct SectionSpec {
    const Spec* spec = nullptr;
    std::span<const LayoutChoice> layouts = {};  ///< empty: only layout 0
};

constexpr FieldSpec raw(std::string_view name, std::string_view type, std::uint32_t size) {
    return {.name = name, .type = type, .size = size};
}
constexpr FieldSpec u8(std::string_view name) {
    return raw(name, "uint8", 1);
}
constexpr FieldSpec u16(std::string_view name) {
    return raw(name, "uint16", 2);
}
constexpr FieldSpec u32(std::string_view name) {
    return raw(name, "uint32", 4);
}
constexpr FieldSpec u64(std::string_view name) {
    return raw(name, "uint64", 8);
}
constexpr FieldSpec i8(std::string_view name) {
    return raw(name, "int8", 1);
}
constexpr FieldSpec i16(std::string_view name) {
    return raw(name, "int16", 2);
}
constexpr FieldSpec i32(std::string_view name) {
    return raw(name, "int32", 4);
}
constexpr FieldSpec i64(std::string_view name) {
    return raw(name, "int64", 8);
}
constexpr FieldSpec flag(std::string_view name) {
    return raw(name, "bool", 1).between(0, 1);
}
constexpr FieldSpec timer(std::string_view name) {
    return raw(name, "timer", 8);
}
constexpr FieldSpec buffer(std::string_view name, std::uint32_t size) {
    return raw(name, "buffer", size);
}
constexpr FieldSpec unused(std::string_view name, std::uint32_t size) {
    return raw(name, "unused_buffer", size);
}
constexpr FieldSpec structure(std::string_view name, const Spec& spec) {
    return {.name = name, .type = "struct", .structure = &spec};
}
constexpr FieldSpec tmp(std::string_view name, const Spec& spec) {
    return {.name = name, .type = "tmp", .structure = &spec};
}

/// nullptr if no schema is known for a section of this name.
[[nodiscard]] const SectionSpec* find_section(std::string_view idstr);

// One file per family of devices.
[[nodiscard]] std::span<const SectionSpec> cpu_sections();      ///< timer, CPUs, local APICs
[[nodiscard]] std::span<const SectionSpec> chipset_sections();  ///< PCI core, PIIX, interrupt controllers, …
[[nodiscard]] std::span<const SectionSpec> legacy_sections();   ///< ISA devices
[[nodiscard]] std::span<const SectionSpec> storage_sections();  ///< IDE, AHCI, SCSI
[[nodiscard]] std::span<const SectionSpec> display_sections();
[[nodiscard]] std::span<const SectionSpec> network_sections();
[[nodiscard]] std::span<const SectionSpec> usb_sections();
[[nodiscard]] std::span<const SectionSpec> sound_sections();

// Shared by the families.
extern const Spec pci_device;   ///< configuration space of 256 bytes
extern const Spec pcie_device;  ///< of 4096 bytes

}  // namespace vmferry::qemu::schema
