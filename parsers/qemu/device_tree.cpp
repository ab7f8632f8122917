#include "parsers/qemu/device_tree.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace vmferry::qemu {
namespace {

/// What a path leads to: a field, and the element of it if the path ends with a number.
template <typename FieldT>
struct Place {
    FieldT* field = nullptr;
    std::optional<std::uint32_t> element;
};

std::optional<std::uint32_t> as_index(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

template <typename StructT>
auto* field_of(StructT& owner, std::string_view name) {
    const auto found =
        std::ranges::find_if(owner.fields, [name](const Field& field) { return field.name == name; });
    return found == owner.fields.end() ? nullptr : &*found;
}

template <typename StructT>
StructT* subsection_of(StructT& owner, std::string_view name) {
    const auto found =
        std::ranges::find_if(owner.subsections, [name](const Struct& sub) { return sub.vmsd_name == name; });
    return found == owner.subsections.end() ? nullptr : &*found;
}

template <typename FieldT, typename StructT>
Place<FieldT> resolve(StructT& root, std::string_view path) {
    StructT* owner = &root;
    FieldT* field = nullptr;
    std::optional<std::uint32_t> element;
    while (true) {
        const auto bar = path.find('|');
        const auto word = path.substr(0, bar);
        const bool last = bar == std::string_view::npos;
        if (word.starts_with('+')) {
            owner = owner ? subsection_of(*owner, word.substr(1)) : nullptr;
            if (!owner) return {};
            field = nullptr;
            element.reset();
        } else if (auto* named = owner ? field_of(*owner, word) : nullptr) {
            field = named;
            element.reset();
            owner = field->elements.size() == 1 ? &field->elements.front() : nullptr;
        } else if (const auto index = as_index(word); index && field && !element && *index < field->count) {
            element = index;
            owner = field->elements.empty() ? nullptr : &field->elements[*index];
        } else {
            return {};
        }
        if (last) return {field, element};
        path.remove_prefix(bar + 1);
    }
}

template <typename StructT>
StructT* deep_subsection(StructT& owner, std::string_view name) {
    if (auto* own = subsection_of(owner, name)) return own;
    for (auto& field : owner.fields)
        for (auto& element : field.elements)
            if (auto* inner = deep_subsection<StructT>(element, name)) return inner;
    for (auto& sub : owner.subsections)
        if (auto* inner = deep_subsection<StructT>(sub, name)) return inner;
    return nullptr;
}

std::unexpected<Error> path_error(const Section& section, std::string_view path, const Field* field,
                                  std::string found, std::string expected) {
    return stream_error("qemu device state", fmt::format("{} {}", section.idstr, section.instance),
                        std::string(path), field ? field->offset : section.offset, std::move(found),
                        std::move(expected));
}

/// The bytes of one integer: span<const byte> in a const section, span<byte> in another.
template <typename FieldT, typename StructT>
auto integer_at(const Section& section, StructT& root, std::string_view path)
    -> Result<decltype(std::span(std::declval<FieldT&>().data))> {
    const auto place = resolve<FieldT>(root, path);
    FieldT* field = place.field;
    if (!field) return path_error(section, path, nullptr, "no such field or element", "a field");
    if (!field->elements.empty() ||
        (field->size != 1 && field->size != 2 && field->size != 4 && field->size != 8))
        return path_error(section, path, field, fmt::format("{} of {} bytes", field->type, field->size),
                          "an integer of 1, 2, 4 or 8 bytes");
    if (!place.element && field->count != 1)
        return path_error(section, path, field, fmt::format("an array of {}", field->count),
                          "one element of it");
    return std::span(field->data).subspan(std::size_t{field->size} * place.element.value_or(0), field->size);
}

std::uint64_t big_endian(Bytes bytes) {
    std::uint64_t value = 0;
    for (const auto byte : bytes) value = value << 8 | std::to_integer<std::uint64_t>(byte);
    return value;
}

void encode(Buffer& out, const Struct& value) {
    for (const auto& field : value.fields) {
        append(out, field.data);
        for (const auto& element : field.elements) encode(out, element);
    }
    for (const auto& sub : value.subsections) {
        append_be<std::uint8_t>(out, 0x05);
        append_be(out, static_cast<std::uint8_t>(sub.vmsd_name.size()));
        append(out, sub.vmsd_name);
        append_be(out, sub.version);
        encode(out, sub);
    }
}

}  // namespace

const Field* Section::find(std::string_view path) const {
    return resolve<const Field>(root, path).field;
}

Field* Section::find(std::string_view path) {
    return resolve<Field>(root, path).field;
}

const Struct* Section::subsection(std::string_view full_name) const {
    return deep_subsection(root, full_name);
}

Struct* Section::subsection(std::string_view full_name) {
    return deep_subsection(root, full_name);
}

Result<std::uint64_t> Section::get(std::string_view path) const {
    VMFERRY_ASSIGN(const auto bytes, integer_at<const Field>(*this, root, path));
    return big_endian(bytes);
}

Result<std::int64_t> Section::get_signed(std::string_view path) const {
    VMFERRY_ASSIGN(const auto bytes, integer_at<const Field>(*this, root, path));
    const auto unused = 64 - 8 * bytes.size();
    return static_cast<std::int64_t>(big_endian(bytes) << unused) >> unused;
}

Result<void> Section::set(std::string_view path, std::uint64_t value) {
    VMFERRY_ASSIGN(const auto bytes, integer_at<Field>(*this, root, path));
    const auto bits = 8 * bytes.size();
    if (bits < 64) {
        const bool as_unsigned = value >> bits == 0;
        const bool as_negative = static_cast<std::int64_t>(value) >> (bits - 1) == -1;
        if (!as_unsigned && !as_negative)
            return path_error(*this, path, find(path), fmt::format("{:#x}", value),
                              fmt::format("a value of {} bits", bits));
    }
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::byte>(value >> (bits - 8 * (i + 1)));
    return {};
}

Result<Bytes> Section::bytes(std::string_view path) const {
    const auto place = resolve<const Field>(root, path);
    if (!place.field) return path_error(*this, path, nullptr, "no such field or element", "a field");
    if (!place.field->elements.empty())
        return path_error(*this, path, place.field, "a structure", "a buffer or an array of integers");
    const Bytes all = place.field->data;
    return place.element ? all.subspan(std::size_t{*place.element} * place.field->size, place.field->size)
                         : all;
}

Result<void> Section::set_bytes(std::string_view path, Bytes value) {
    VMFERRY_ASSIGN(const auto old, bytes(path));
    const auto place = resolve<Field>(root, path);
    if (old.size() != value.size())
        return path_error(*this, path, place.field, fmt::format("{} bytes", value.size()),
                          fmt::format("{} bytes", old.size()));
    const auto at = std::size_t{place.element.value_or(0)} * place.field->size;
    std::ranges::copy(value, place.field->data.begin() + static_cast<std::ptrdiff_t>(at));
    return {};
}

const Section* DeviceTree::find(std::string_view idstr, std::uint32_t instance) const {
    const auto found = std::ranges::find_if(sections, [&](const Section& section) {
        return section.idstr == idstr && section.instance == instance;
    });
    return found == sections.end() ? nullptr : &*found;
}

Section* DeviceTree::find(std::string_view idstr, std::uint32_t instance) {
    return const_cast<Section*>(std::as_const(*this).find(idstr, instance));
}

std::vector<const Section*> DeviceTree::find_pci(std::string_view vmsd_name) const {
    std::vector<const Section*> found;
    for (const auto& section : sections) {
        const std::string_view idstr = section.idstr;
        const auto slash = idstr.rfind('/');
        // "0000:00:SS.F/name": the device path has colons; "smbus-eeprom" or a name with a slash has none.
        if (slash == std::string_view::npos || idstr.substr(0, slash).find(':') == std::string_view::npos ||
            idstr.substr(0, slash).find('/') != std::string_view::npos)
            continue;
        if (idstr.substr(slash + 1) == vmsd_name) found.push_back(&section);
    }
    return found;
}

Buffer encode_payload(const Section& section) {
    Buffer out;
    out.reserve(section.length);
    encode(out, section.root);
    return out;
}

}  // namespace vmferry::qemu
