// The blob of a Xen stream's EMULATOR_CONTEXT:
//
//     "QEVM" · be32 3 · { 04 · be32 id · u8 n · n bytes of idstr · be32 instance · be32 version · payload } …
//     · 00 · [06 · be32 length · JSON]
//
// No CONFIGURATION, no footers, no lengths (Xen's accelerator switches them off). The description behind the
// final 00 comes from newer QEMUs; other bytes there can be the rest of an older, longer file that was not
// truncated, and are left to the audit.
#include <algorithm>
#include <optional>

#include "parsers/qemu/described_state.hpp"
#include "parsers/qemu/format.hpp"
#include "parsers/qemu/schema_reader.hpp"
#include "parsers/qemu/snapshot.hpp"

namespace vmferry::qemu {
namespace {

using schema::Cut;
using schema::Guess;

constexpr std::size_t max_sections = 4096;
constexpr std::uint32_t max_open_count = 512;  // elements whose number is not in the stream: possible CPUs
constexpr std::size_t max_searched = 1u << 20;

// What a section head must look like to confirm that the section before it was cut in the right place.
constexpr std::uint32_t max_plausible_id = 0xffff;
constexpr std::uint32_t max_plausible_instance = 0xffff;
constexpr std::uint32_t max_plausible_version = 0x0fffffff;  // "eeprom" has 20061113

struct Head {
    std::uint32_t id = 0;
    std::string_view idstr;
    std::uint32_t instance = 0;
    std::uint32_t version = 0;
    std::size_t size = 0;  ///< bytes with the type byte
};

bool is_name(std::string_view text) {
    constexpr std::string_view others = ":/._-+ ";
    return !text.empty() && text.front() != ' ' && text.back() != ' ' &&
           std::ranges::all_of(text, [others](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      others.contains(c);
           });
}

/// The section head at `at`, if there is a plausible one.
std::optional<Head> head_at(Bytes blob, std::size_t at) {
    const auto rest = blob.subspan(at);
    if (rest.size() < 6 || rest[0] != std::byte{0x04}) return std::nullopt;
    Head head;
    head.id = load_be<std::uint32_t>(rest, 1);
    const auto length = std::to_integer<std::size_t>(rest[5]);
    head.size = 6 + length + 8;
    if (rest.size() < head.size) return std::nullopt;
    head.idstr = as_text(rest.subspan(6, length));
    head.instance = load_be<std::uint32_t>(rest, 6 + length);
    head.version = load_be<std::uint32_t>(rest, 6 + length + 4);
    if (!is_name(head.idstr) || head.id > max_plausible_id || head.instance > max_plausible_instance ||
        head.version > max_plausible_version)
        return std::nullopt;
    return head;
}

/// A 00 that is not EOF at all has sections behind it, or in what was taken for payload.
bool names_a_section(Bytes rest) {
    rest = rest.first(std::min(rest.size(), max_searched));
    for (std::size_t at = 0; at + 1 < rest.size(); ++at) {
        const auto length = std::to_integer<std::size_t>(rest[at]);
        if (rest.size() - at - 1 < length + 8) continue;
        const auto name = as_text(rest.subspan(at + 1, length));
        if (!is_name(name)) continue;
        const auto* known = schema::find_section(name);
        if (!known) continue;
        const auto instance = load_be<std::uint32_t>(rest, at + 1 + length);
        const auto version = load_be<std::uint32_t>(rest, at + 1 + length + 4);
        if (instance <= max_plausible_instance && version >= known->spec->min_version &&
            version <= known->spec->version)
            return true;
    }
    return false;
}

/// Named ignore: the description that QEMU appends to what it wrote. The schemas know the layout already, so
/// its JSON is not read; it must fill the blob to the last byte.
bool is_description(Bytes rest) {
    constexpr std::size_t head = 5;
    if (rest.size() < head + 2 || rest[0] != static_cast<std::byte>(ItemType::vm_description)) return false;
    const auto json = rest.subspan(head);
    return load_be<std::uint32_t>(rest, 1) == json.size() && json.size() <= max_description &&
           json.front() == std::byte{'{'} && json.back() == std::byte{'}'};
}

enum class Follower { none, section, end, end_with_rest };

/// What follows at `at` a payload that was taken to begin at `start`.
Follower follower_at(Bytes blob, std::size_t start, std::size_t at) {
    if (at >= blob.size()) return Follower::none;
    if (blob[at] == std::byte{0x00}) {
        if (at + 1 == blob.size() || is_description(blob.subspan(at + 1))) return Follower::end;
        return names_a_section(blob.subspan(start)) ? Follower::none : Follower::end_with_rest;
    }
    return head_at(blob, at) ? Follower::section : Follower::none;
}

std::string shown(Bytes blob, std::size_t at) {
    if (at >= blob.size()) return "the end of the blob";
    std::string text = "bytes";
    for (const auto byte : blob.subspan(at, std::min<std::size_t>(12, blob.size() - at)))
        text += fmt::format(" {:02x}", std::to_integer<unsigned>(byte));
    return text;
}

class Cutter {
  public:
    Cutter(Bytes blob, std::uint64_t base) : blob_(blob), base_(base) {}

    Result<DeviceTree> run() {
        if (blob_.size() > max_device_state)
            return fail("device model", "size", 0, fmt::format("{} bytes", blob_.size()),
                        fmt::format("at most {}", max_device_state));
        if (blob_.size() < 8 || load_be<std::uint32_t>(blob_) != file_magic)
            return fail("file header", "magic", 0, shown(blob_, 0), "\"QEVM\"");
        if (const auto version = load_be<std::uint32_t>(blob_, 4); version != file_version)
            return fail("file header", "version", 4, fmt::format("{}", version),
                        fmt::format("{}", file_version));
        at_ = 8;
        DeviceTree tree;
        while (true) {
            if (at_ >= blob_.size())
                return fail("device model", "type", at_, "the end of the blob", "a section or EOF (00)");
            if (blob_[at_] == std::byte{0x00}) {
                tree.eof = base_ + at_;
                const auto rest = blob_.subspan(at_ + 1);
                tree.rest = is_description(rest) ? 0 : rest.size();
                return tree;
            }
            if (tree.sections.size() == max_sections)
                return fail("device model", "sections", at_, "one more",
                            fmt::format("at most {}", max_sections));
            VMFERRY_ASSIGN(auto section, read_section(tree));
            if (tree.find(section.idstr, section.instance))
                return stream_error(std::string(format_name), name_of(section), "idstr", section.offset,
                                    "the same section twice", "each once");
            tree.sections.push_back(std::move(section));
        }
    }

  private:
    struct Candidate {
        Cut cut;
        Follower follower = Follower::none;
    };

    [[nodiscard]] std::unexpected<Error> fail(std::string record, std::string field, std::size_t at,
                                              std::string found, std::string expected,
                                              std::string hint = {}) const {
        auto error = stream_error(std::string(format_name), std::move(record), std::move(field), base_ + at,
                                  std::move(found), std::move(expected));
        error.error().hint = std::move(hint);
        return error;
    }

    static std::string name_of(const Section& section) {
        return fmt::format("section {} instance {} version {}", section.idstr, section.instance,
                           section.version);
    }

    /// What keeps the bytes that are next from being a section head.
    [[nodiscard]] std::unexpected<Error> no_head() const {
        const auto rest = blob_.subspan(at_);
        const auto wrong = [&](std::string field, std::size_t at, std::string found, std::string expected) {
            return fail("section head", std::move(field), at_ + at, std::move(found), std::move(expected));
        };
        if (rest[0] != std::byte{0x04}) return wrong("type", 0, shown(blob_, at_), "a section or EOF (00)");
        const auto length = rest.size() < 6 ? 0 : std::to_integer<std::size_t>(rest[5]);
        const auto size = 6 + length + 8;
        if (rest.size() < size)
            return wrong("size", rest.size(), fmt::format("the end of the blob after {} bytes", rest.size()),
                         fmt::format("at least {}", size));
        if (!is_name(as_text(rest.subspan(6, length))))
            return wrong("idstr", 6, shown(blob_, at_ + 6), "the name of a device");
        struct Number {
            const char* field;
            std::size_t at;
            std::uint32_t most;
        };
        for (const auto& [field, at, most] : {Number{"section_id", 1, max_plausible_id},
                                              Number{"instance_id", 6 + length, max_plausible_instance}})
            if (const auto value = load_be<std::uint32_t>(rest, at); value > most)
                return wrong(field, at, fmt::format("{}", value), fmt::format("at most {}", most));
        return wrong("version_id", 10 + length, fmt::format("{}", load_be<std::uint32_t>(rest, 10 + length)),
                     fmt::format("at most {}", max_plausible_version));
    }

    Result<Section> read_section(const DeviceTree& before) {
        const auto head = head_at(blob_, at_);
        if (!head) return no_head();
        Section section;
        section.section_id = head->id;
        section.idstr = head->idstr;
        section.instance = head->instance;
        section.version = head->version;
        section.offset = base_ + at_;
        const auto* known = schema::find_section(head->idstr);
        if (!known)
            return fail(name_of(section), "idstr", at_, "a device that this version has no layout for",
                        "a known device");
        const auto start = at_ + head->size;
        VMFERRY_ASSIGN(auto cut, cut_somehow(*known, section, start, before));
        section.length = cut.end - start;
        section.root = std::move(cut.root);
        at_ = cut.end;
        return section;
    }

    /// Tries every layout; exactly one may fit.
    Result<Cut> cut_somehow(const schema::SectionSpec& known, const Section& section, std::size_t start,
                            const DeviceTree& before) {
        static constexpr schema::LayoutChoice usual[] = {{}};
        const auto record = name_of(section);
        std::optional<Error> furthest;
        std::optional<Candidate> best;
        bool ambiguous = false;
        const auto keep = [&furthest](Error error) {
            if (!furthest || error.offset > furthest->offset) furthest = std::move(error);
        };
        for (const auto& choice :
             known.layouts.empty() ? std::span<const schema::LayoutChoice>(usual) : known.layouts) {
            if (!choice.unless_section.empty() && before.find(choice.unless_section)) continue;
            for (std::uint32_t open_count = 0; open_count <= max_open_count; ++open_count) {
                auto cut = schema::cut_payload(*known.spec, section.version, Guess{choice.layout, open_count},
                                               blob_, start, base_, record);
                if (!cut) {
                    keep(std::move(cut).error());
                    break;  // more elements need more bytes
                }
                const bool once = !cut->open_count_used;
                const auto follower = follower_at(blob_, start, cut->end);
                if (follower == Follower::none) {
                    keep(does_not_fit(record, *cut));
                } else if (!best || stronger(follower, best->follower)) {
                    best = Candidate{std::move(*cut), follower};
                    ambiguous = false;
                } else if (!stronger(best->follower, follower)) {
                    ambiguous = true;
                }
                if (once) break;
            }
        }
        if (ambiguous)
            return fail(record, "layout", start, "bytes that fit more than one layout of this device",
                        "one that fits");
        if (best) return std::move(best->cut);
        return std::unexpected(std::move(*furthest));
    }

    static bool stronger(Follower a, Follower b) { return a != b && b == Follower::end_with_rest; }

    [[nodiscard]] Error does_not_fit(const std::string& record, const Cut& cut) const {
        const auto& last = cut.root.subsections.empty() ? cut.root : cut.root.subsections.back();
        const auto field = last.fields.empty() ? std::string("payload") : "after " + last.fields.back().name;
        auto found = shown(blob_, cut.end);
        std::string hint;
        if (cut.end < blob_.size() && blob_[cut.end] == std::byte{0x00}) {
            found += ", and sections further on";
            hint =
                "if /var/lib/xen/qemu-save.* of an earlier migration was left behind on the source, remove "
                "it";
        }
        return fail(record, field, cut.end, std::move(found), "a section head or EOF (00) at the end",
                    std::move(hint))
            .error();
    }

    Bytes blob_;
    std::uint64_t base_;
    std::size_t at_ = 0;
};

}  // namespace

Result<DeviceTree> read_device_model(Bytes blob, std::uint64_t offset) {
    return Cutter(blob, offset).run();
}

Buffer write_device_model(const DeviceTree& tree) {
    Buffer out;
    write_file_header(out);
    for (const auto& section : tree.sections) {
        write_section_head(out, section);
        append(out, encode_payload(section));
    }
    write_eof(out);
    return out;
}

}  // namespace vmferry::qemu
