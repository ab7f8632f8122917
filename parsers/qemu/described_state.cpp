#include "parsers/qemu/described_state.hpp"

#include <algorithm>

#include "parsers/qemu/format.hpp"
#include "parsers/qemu/json_value.hpp"

namespace vmferry::qemu {
namespace {

using Kind = JsonValue::Kind;

class Decoder {
  public:
    Decoder(Bytes state, std::uint64_t offset, std::uint64_t json_offset)
        : state_(state), base_(offset), json_base_(json_offset) {}

    Result<DeviceTree> run(const JsonValue& description) {
        record_ = "VMDESCRIPTION";
        const auto* devices = description.find("devices");
        if (!devices || devices->kind != Kind::array) return bad_description("devices", "no array");
        if (const auto* size = description.find("page_size"); size && size->number != page_size)
            return bad_description("page_size", fmt::format("{}", size->number));
        DeviceTree tree;
        for (const auto& device : devices->items) {
            VMFERRY_ASSIGN(auto section, read_section(device));
            tree.sections.push_back(std::move(section));
        }
        record_ = "device state";
        if (at_ != state_.size())
            return fail("EOF",
                        fmt::format("{} bytes that the description does not mention", state_.size() - at_),
                        "EOF after the last described section");
        return tree;
    }

  private:
    // -- errors ----------------------------------------------------------------------------------

    [[nodiscard]] std::unexpected<Error> fail(std::string field, std::string found,
                                              std::string expected) const {
        return stream_error(std::string(format_name), record_, std::move(field), base_ + at_,
                            std::move(found), std::move(expected));
    }
    [[nodiscard]] std::unexpected<Error> bad_description(std::string_view key, std::string found) const {
        return stream_error(std::string(format_name), record_, fmt::format("description: {}{}", path_, key),
                            json_base_, std::move(found), "what QEMU writes there");
    }

    // -- the description's values ----------------------------------------------------------------

    Result<std::uint32_t> number(const JsonValue& object, std::string_view key) const {
        const auto* value = object.find(key);
        if (!value || value->kind != Kind::number) return bad_description(key, "no number");
        if (value->number > 0xffffffffu) return bad_description(key, fmt::format("{}", value->number));
        return static_cast<std::uint32_t>(value->number);
    }
    Result<std::string> text(const JsonValue& object, std::string_view key) const {
        const auto* value = object.find(key);
        if (!value || value->kind != Kind::text || value->text.empty())
            return bad_description(key, "no text");
        return value->text;
    }
    Result<void> count_node() {
        if (++nodes_ > max_tree_nodes)
            return fail(path_, fmt::format("more than {} fields", max_tree_nodes),
                        "a machine's device state");
        return {};
    }

    // -- the section's frame ---------------------------------------------------------------------

    Result<Bytes> take(std::uint64_t size, std::string_view field) {
        if (size > state_.size() - at_)
            return fail(std::string(field), fmt::format("{} bytes before EOF", state_.size() - at_),
                        fmt::format("{} bytes", size));
        const auto bytes = state_.subspan(at_, size);
        at_ += size;
        return bytes;
    }
    Result<void> expect_number(std::string_view field, std::uint32_t expected) {
        VMFERRY_ASSIGN(const auto bytes, take(4, field));
        const auto found = load_be<std::uint32_t>(bytes);
        if (found == expected) return {};
        at_ -= 4;
        return fail(std::string(field), fmt::format("{}", found), fmt::format("{}", expected));
    }
    Result<void> expect_byte(std::string_view field, ItemType expected) {
        VMFERRY_ASSIGN(const auto bytes, take(1, field));
        if (bytes[0] == static_cast<std::byte>(expected)) return {};
        at_ -= 1;
        return fail(std::string(field), fmt::format("{:02x}", std::to_integer<unsigned>(bytes[0])),
                    fmt::format("{:02x}", static_cast<unsigned>(expected)));
    }
    Result<void> expect_name(std::string_view field, std::string_view expected) {
        VMFERRY_ASSIGN(const auto length, take(1, field));
        VMFERRY_ASSIGN(const auto name, take(std::to_integer<std::uint8_t>(length[0]), field));
        if (as_text(name) == expected) return {};
        at_ -= name.size() + 1;
        return fail(std::string(field), fmt::format("a name of {} bytes", name.size()),
                    fmt::format("\"{}\"", expected));
    }

    Result<Section> read_section(const JsonValue& device) {
        Section section;
        record_ = "VMDESCRIPTION";
        path_.clear();
        VMFERRY_ASSIGN(section.idstr, text(device, "name"));
        VMFERRY_ASSIGN(section.instance, number(device, "instance_id"));
        record_ = fmt::format("section {} instance {}", section.idstr, section.instance);
        section.offset = base_ + at_;
        VMFERRY_TRY(expect_byte("type", ItemType::section_full));
        VMFERRY_ASSIGN(const auto id, take(4, "section_id"));
        section.section_id = load_be<std::uint32_t>(id);
        VMFERRY_TRY(expect_name("idstr", section.idstr));
        VMFERRY_TRY(expect_number("instance_id", section.instance));
        section.described = device.find("vmsd_name") != nullptr;
        if (section.described) {
            VMFERRY_ASSIGN(section.version, number(device, "version"));
            VMFERRY_TRY(expect_number("version_id", section.version));
        } else {
            VMFERRY_ASSIGN(const auto version, take(4, "version_id"));
            section.version = load_be<std::uint32_t>(version);
        }
        const auto start = at_;
        if (section.described) {
            VMFERRY_ASSIGN(section.root, read_struct(device, 0));
        } else {
            VMFERRY_ASSIGN(section.root, read_undescribed(device));
        }
        section.length = at_ - start;
        VMFERRY_TRY(expect_byte("footer", ItemType::section_footer));
        VMFERRY_TRY(expect_number("footer", section.section_id));
        return section;
    }

    // -- the payload -----------------------------------------------------------------------------

    /// Old-style handlers ("slirp") only say how many bytes they wrote.
    Result<Struct> read_undescribed(const JsonValue& device) {
        VMFERRY_ASSIGN(const auto size, number(device, "size"));
        Field data;
        data.name = "data";
        data.type = "buffer";
        data.size = size;
        data.offset = base_ + at_;
        VMFERRY_ASSIGN(const auto bytes, take(size, "data"));
        data.data.assign(bytes.begin(), bytes.end());
        Struct root;
        if (size != 0) root.fields.push_back(std::move(data));
        return root;
    }

    Result<Struct> read_struct(const JsonValue& described, std::size_t depth) {
        VMFERRY_TRY(count_node());
        if (depth > max_json_depth) return bad_description("struct", "too many levels");
        Struct out;
        VMFERRY_ASSIGN(out.vmsd_name, text(described, "vmsd_name"));
        VMFERRY_ASSIGN(out.version, number(described, "version"));
        const auto* fields = described.find("fields");
        if (!fields || fields->kind != Kind::array) return bad_description("fields", "no array");
        for (const auto& field : fields->items) {
            const auto length = path_.size();
            VMFERRY_TRY(read_field(field, out, depth));
            path_.resize(length);
        }
        const auto* subsections = described.find("subsections");
        if (!subsections) return out;
        if (subsections->kind != Kind::array) return bad_description("subsections", "no array");
        for (const auto& described_sub : subsections->items) {
            const auto length = path_.size();
            VMFERRY_ASSIGN(const auto name, text(described_sub, "vmsd_name"));
            VMFERRY_ASSIGN(const auto version, number(described_sub, "version"));
            path_ += fmt::format("+{}|", name);
            VMFERRY_TRY(expect_byte(path_, ItemType::subsection));
            VMFERRY_TRY(expect_name(path_, name));
            VMFERRY_TRY(expect_number(path_, version));
            VMFERRY_ASSIGN(auto sub, read_struct(described_sub, depth + 1));
            out.subsections.push_back(std::move(sub));
            path_.resize(length);
        }
        return out;
    }

    Result<void> read_field(const JsonValue& described, Struct& owner, std::size_t depth) {
        Field field;
        VMFERRY_ASSIGN(field.name, text(described, "name"));
        VMFERRY_ASSIGN(field.type, text(described, "type"));
        path_ += field.name + "|";
        VMFERRY_ASSIGN(const auto size, number(described, "size"));
        if (described.find("array_len")) {
            VMFERRY_ASSIGN(field.count, number(described, "array_len"));
        }
        const auto left = state_.size() - at_;
        if (std::uint64_t{size} * field.count > left)
            return fail(path_, fmt::format("{} x {} bytes, {} before EOF", field.count, size, left),
                        "a field inside the section");
        if (field.count == 0 || (size == 0 && field.count != 1))
            return bad_description("array_len", fmt::format("{} elements of {} bytes", field.count, size));
        field.offset = base_ + at_;
        VMFERRY_TRY(count_node());

        // "struct" has the nested description in a member, "tmp" in its own object. Lists ("qtailq", …) have
        // theirs there once per element, as duplicate keys, and bytes of their own in between: kept raw.
        const auto* nested = described.find("struct");
        if (!nested && field.type == "tmp" && described.count("fields") == 1) nested = &described;
        if (nested) {
            for (std::uint32_t i = 0; i < field.count; ++i) {
                const auto start = at_;
                VMFERRY_ASSIGN(auto element, read_struct(*nested, depth + 1));
                if (at_ - start != size)
                    return fail(path_, fmt::format("{} bytes in a structure", at_ - start),
                                fmt::format("{}, its size in the description", size));
                field.elements.push_back(std::move(element));
            }
        } else {
            field.size = size;
            VMFERRY_ASSIGN(const auto bytes, take(std::uint64_t{size} * field.count, path_));
            field.data.assign(bytes.begin(), bytes.end());
        }
        merge(owner, std::move(field));
        return {};
    }

    /// Elements that are listed one by one follow each other under the same name ("index" cannot be relied
    /// on); two fields of one description never have the same name, QEMU appends "[n]" then.
    static void merge(Struct& owner, Field field) {
        if (!owner.fields.empty()) {
            auto& last = owner.fields.back();
            if (last.name == field.name && last.type == field.type && last.size == field.size &&
                last.elements.empty() == field.elements.empty()) {
                last.count += field.count;
                append(last.data, field.data);
                std::ranges::move(field.elements, std::back_inserter(last.elements));
                return;
            }
        }
        owner.fields.push_back(std::move(field));
    }

    Bytes state_;
    std::uint64_t base_;
    std::uint64_t json_base_;
    std::size_t at_ = 0;
    std::size_t nodes_ = 0;
    std::string record_;
    std::string path_;
};

}  // namespace

Result<DeviceTree> decode_device_state(Bytes state, std::uint64_t offset, std::string_view json,
                                       std::uint64_t json_offset) {
    if (json.size() > max_description)
        return stream_error(std::string(format_name), "VMDESCRIPTION", "length", json_offset,
                            fmt::format("{}", json.size()), fmt::format("at most {}", max_description));
    VMFERRY_ASSIGN(const auto description, parse_json(json, json_offset));
    return Decoder(state, offset, json_offset).run(description);
}

}  // namespace vmferry::qemu
