// The decoded device state of a QEMU: sections, their fields with names and types, their subsections.
// Comes from a vmstate section and its description, or from one of our own schemas; goes back to bytes
// unchanged.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parsers/wire/bytes.hpp"
#include "parsers/wire/error.hpp"

namespace vmferry::qemu {

struct Struct;

/// One field of a description: a scalar, an array of scalars, a raw buffer, or (an array of) structures.
struct Field {
    std::string name;              ///< as in the description, with "[n]" where QEMU puts one
    std::string type;              ///< QEMU's word: "uint32", "buffer", "timer", "struct", "tmp", …
    std::uint32_t count = 1;       ///< elements
    std::uint32_t size = 0;        ///< bytes of one element (0 for structures)
    Buffer data;                   ///< count × size bytes, big-endian as on the wire; empty for structures
    std::vector<Struct> elements;  ///< count elements, for type "struct" and "tmp"
    std::uint64_t offset = 0;      ///< in the whole stream, where it was read
};

/// A description with its fields, in wire order.
struct Struct {
    std::string vmsd_name = {};
    std::uint32_t version = 0;
    std::vector<Field> fields = {};
    std::vector<Struct> subsections = {};  ///< vmsd_name is then the full name, "cpu/tsc_khz"
};

/// Paths name a place inside a section: components separated by '|', each the exact name of a field, a number
/// (the element of the field before it), or '+' and the full name of a subsection:
///     "env.regs|4"   "env.segs|2|selector"   "+hpet/offset|hpet_offset"   "parent_obj|config" …
/// The last component may be a number: an element of a scalar array.
struct Section {
    std::uint32_t section_id = 0;
    std::string idstr;  ///< "cpu", "0000:00:02.0/cirrus_vga"
    std::uint32_t instance = 0;
    std::uint32_t version = 0;
    bool described = true;  ///< false: old-style or undescribed payload, kept as one buffer field "data"
    Struct root;
    std::uint64_t offset = 0;  ///< of the section's type byte in the whole stream
    std::uint64_t length = 0;  ///< bytes of payload

    /// nullptr if the path does not exist.
    [[nodiscard]] const Field* find(std::string_view path) const;
    [[nodiscard]] Field* find(std::string_view path);
    [[nodiscard]] const Struct* subsection(std::string_view full_name) const;
    [[nodiscard]] Struct* subsection(std::string_view full_name);

    /// Unsigned value of a scalar or of an array element (1, 2, 4 or 8 bytes, zero-extended).
    /// Errors (kind stream) name section, path and what is wrong: no such field, element or width.
    [[nodiscard]] Result<std::uint64_t> get(std::string_view path) const;
    [[nodiscard]] Result<std::int64_t> get_signed(std::string_view path) const;
    /// Stores the low bytes of `value`; error if it does not fit (neither as unsigned nor as negative
    /// signed).
    Result<void> set(std::string_view path, std::uint64_t value);
    [[nodiscard]] Result<Bytes> bytes(std::string_view path) const;
    /// Replaces the content of a buffer or array; the size must be equal.
    Result<void> set_bytes(std::string_view path, Bytes value);
};

struct DeviceTree {
    std::vector<Section> sections;  ///< in wire order
    // A Xen device model's blob only:
    std::uint64_t eof = 0;   ///< offset of EOF in the whole stream
    std::uint64_t rest = 0;  ///< bytes of unknown meaning behind it, no description

    [[nodiscard]] const Section* find(std::string_view idstr, std::uint32_t instance = 0) const;
    [[nodiscard]] Section* find(std::string_view idstr, std::uint32_t instance = 0);
    /// PCI devices: the section "0000:00:SS.F/name" whose part behind the slash is `vmsd_name`, any slot.
    [[nodiscard]] std::vector<const Section*> find_pci(std::string_view vmsd_name) const;
};

/// Payload bytes of a section (without head and footer); exact inverse of decoding.
[[nodiscard]] Buffer encode_payload(const Section& section);

}  // namespace vmferry::qemu
