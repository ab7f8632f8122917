#include "parsers/qemu/schema_reader.hpp"

#include <algorithm>
#include <optional>

#include "parsers/qemu/format.hpp"

namespace vmferry::qemu::schema {
namespace {

class Reader {
  public:
    Reader(Guess guess, Bytes blob, std::size_t at, std::uint64_t base, const std::string& record)
        : guess_(guess), blob_(blob), at_(at), base_(base), record_(record) {}

    Result<Struct> read(const Spec& spec, std::uint32_t version) {
        Struct out;
        out.vmsd_name = spec.vmsd_name;
        out.version = version;
        out.fields.reserve(spec.fields.size());
        for (const auto& field : spec.fields) {
            if (!present(field, version, out)) continue;
            path_.push_back({field.name});
            VMFERRY_ASSIGN(const auto count, count_of(field, out));
            if (count != 0) {  // QEMU's description has no entry for an empty array either
                VMFERRY_ASSIGN(auto value,
                               field.structure ? read_structures(field, count) : read_data(field, count));
                out.fields.push_back(std::move(value));
            }
            path_.pop_back();
        }
        VMFERRY_TRY(read_subsections(spec, out));
        return out;
    }

    [[nodiscard]] std::size_t position() const { return at_; }
    [[nodiscard]] bool open_count_used() const { return open_count_used_; }

  private:
    struct Component {
        std::string_view name;
        std::optional<std::uint32_t> element = {};
        bool subsection = false;
    };

    /// Names the field that is being read, as a path of the device tree.
    [[nodiscard]] std::unexpected<Error> fail(std::size_t at, std::string found, std::string expected) const {
        std::string field;
        for (const auto& component : path_) {
            if (!field.empty()) field += '|';
            if (component.subsection) field += '+';
            field += component.name;
            if (component.element) field += fmt::format("|{}", *component.element);
        }
        return stream_error(std::string(format_name), record_, std::move(field), base_ + at, std::move(found),
                            std::move(expected));
    }

    [[nodiscard]] bool present(const FieldSpec& field, std::uint32_t version, const Struct& so_far) const {
        if (version < field.since) return false;
        if ((guess_.layout & field.with) != field.with || (guess_.layout & field.without) != 0) return false;
        return field.present_if.empty() || earlier_value(field.present_if, so_far) != 0;
    }

    [[nodiscard]] static std::uint64_t big_endian(Bytes bytes) {
        std::uint64_t value = 0;
        for (const auto byte : bytes) value = value << 8 | std::to_integer<std::uint64_t>(byte);
        return value;
    }

    /// 0 if the field is absent.
    [[nodiscard]] static std::uint64_t earlier_value(std::string_view name, const Struct& so_far) {
        const auto found =
            std::ranges::find_if(so_far.fields, [name](const Field& field) { return field.name == name; });
        return found == so_far.fields.end() ? 0 : big_endian(Bytes(found->data).first(found->size));
    }

    Result<std::uint32_t> count_of(const FieldSpec& field, const Struct& so_far) {
        if (field.count_open) {
            open_count_used_ = true;
            return guess_.open_count;
        }
        if (field.count_field.empty()) return field.elements;
        const auto count = earlier_value(field.count_field, so_far);
        const auto left = blob_.size() - at_;
        if (count > left)
            return fail(at_, fmt::format("{} = {} elements", field.count_field, count),
                        fmt::format("at most {}, the bytes left", left));
        return static_cast<std::uint32_t>(count);
    }

    [[nodiscard]] Field start_field(const FieldSpec& spec, std::uint32_t count) const {
        Field out;
        out.name = spec.name;
        out.type = spec.type;
        out.count = count;
        out.size = spec.size;
        out.offset = base_ + at_;
        return out;
    }

    Result<Field> read_structures(const FieldSpec& spec, std::uint32_t count) {
        auto out = start_field(spec, count);
        out.elements.reserve(count);
        for (std::uint32_t i = 0; i < count; ++i) {
            if (count != 1) path_.back().element = i;
            VMFERRY_ASSIGN(auto element, read(*spec.structure, spec.structure->version));
            out.elements.push_back(std::move(element));
        }
        return out;
    }

    Result<Field> read_data(const FieldSpec& spec, std::uint32_t count) {
        const auto bytes = std::uint64_t{spec.size} * count;
        const auto left = blob_.size() - at_;
        if (bytes > left)
            return fail(at_, fmt::format("{} bytes left", left), fmt::format("{} bytes", bytes));
        auto out = start_field(spec, count);
        const auto data = blob_.subspan(at_, bytes);
        out.data.assign(data.begin(), data.end());
        VMFERRY_TRY(check_values(spec, data));
        at_ += bytes;
        return out;
    }

    Result<void> check_values(const FieldSpec& spec, Bytes data) {
        if (spec.least == 0 && spec.most == std::numeric_limits<std::uint64_t>::max()) return {};
        for (std::size_t at = 0; at < data.size(); at += spec.size) {
            const auto value = big_endian(data.subspan(at, spec.size));
            if (value >= spec.least && value <= spec.most) continue;
            if (data.size() > spec.size) path_.back().element = static_cast<std::uint32_t>(at / spec.size);
            return fail(at_ + at, fmt::format("{}", value),
                        spec.least == spec.most ? fmt::format("{}", spec.least)
                                                : fmt::format("{} to {}", spec.least, spec.most));
        }
        return {};
    }

    /// The name of the subsection that starts here, if the bytes can be one.
    [[nodiscard]] std::string_view subsection_name() const {
        const auto rest = blob_.subspan(at_);
        if (rest.size() < 2 || rest[0] != std::byte{0x05}) return {};
        const auto length = std::to_integer<std::size_t>(rest[1]);
        if (rest.size() < 2 + length + 4) return {};
        return as_text(rest.subspan(2, length));
    }

    /// QEMU's own rule: what follows belongs to this description if its name begins with the description's;
    /// otherwise it belongs to an enclosing one, or is no subsection at all.
    Result<void> read_subsections(const Spec& spec, Struct& out) {
        while (true) {
            const auto name = subsection_name();
            if (name.size() <= spec.vmsd_name.size() || !name.starts_with(spec.vmsd_name) ||
                !std::ranges::all_of(name, [](char c) { return c > ' ' && c < 0x7f; }))
                return {};
            const auto known = std::ranges::find_if(
                spec.subsections, [name](const Spec* sub) { return sub->vmsd_name == name; });
            path_.push_back({.name = name, .subsection = true});
            if (known == spec.subsections.end())
                return fail(at_, "an unknown subsection", "one of a known layout");
            if (std::ranges::any_of(out.subsections,
                                    [name](const Struct& sub) { return sub.vmsd_name == name; }))
                return fail(at_, "the same subsection twice", "each at most once");
            const auto version = load_be<std::uint32_t>(blob_, at_ + 2 + name.size());
            if (version < (*known)->min_version || version > (*known)->version)
                return fail(at_, fmt::format("version {}", version),
                            fmt::format("version {} to {}", (*known)->min_version, (*known)->version));
            at_ += 2 + name.size() + 4;
            VMFERRY_ASSIGN(auto sub, read(**known, version));
            out.subsections.push_back(std::move(sub));
            path_.pop_back();
        }
    }

    Guess guess_;
    Bytes blob_;
    std::size_t at_;
    std::uint64_t base_;
    const std::string& record_;
    bool open_count_used_ = false;
    std::vector<Component> path_;
};

}  // namespace

Result<Cut> cut_payload(const Spec& spec, std::uint32_t version, Guess guess, Bytes blob, std::size_t at,
                        std::uint64_t base, const std::string& record) {
    // The version is what the head in front of the payload ends with.
    if (version < spec.min_version || version > spec.version)
        return stream_error(std::string(format_name), record, "version", base + at - sizeof version,
                            fmt::format("{}", version),
                            spec.min_version == spec.version
                                ? fmt::format("{}", spec.version)
                                : fmt::format("{} to {}", spec.min_version, spec.version));
    Reader reader(guess, blob, at, base, record);
    VMFERRY_ASSIGN(auto root, reader.read(spec, version));
    return Cut{std::move(root), reader.position(), reader.open_count_used()};
}

}  // namespace vmferry::qemu::schema
