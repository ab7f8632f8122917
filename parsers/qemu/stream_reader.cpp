#include "parsers/qemu/stream_reader.hpp"

#include <algorithm>
#include <bit>
#include <optional>
#include <unordered_set>

#include "parsers/qemu/configuration.hpp"
#include "parsers/qemu/cursor.hpp"
#include "parsers/qemu/description_search.hpp"
#include "parsers/qemu/refusals.hpp"

namespace vmferry::qemu {
namespace {

enum class Phase { header, configuration, before_ram, in_ram, between_parts, after_ram, devices, finished };

std::string_view phase_name(Phase phase) {
    switch (phase) {
        case Phase::header:
            return "file header";
        case Phase::configuration:
            return "CONFIGURATION";
        case Phase::before_ram:
            return "item before ram";
        case Phase::in_ram:
            return "ram";
        case Phase::between_parts:
            return "item between ram parts";
        case Phase::after_ram:
            return "item after ram";
        case Phase::devices:
            return "device state";
        case Phase::finished:
            return "end";
    }
    return "";
}

using More = Step<Event>;

}  // namespace

struct StreamReader::State {
    Phase phase = Phase::header;
    std::uint64_t offset = 0;

    // ram
    std::uint32_t ram_id = 0;
    ItemType ram_item = ItemType::section_start;
    bool block_list_read = false;
    std::vector<RamBlock> blocks;
    std::optional<std::uint32_t> current_block;
    bool content_seen = false;  ///< a page with content has come

    // devices
    DescriptionSearch search;

    Result<Step<Event>> found(std::size_t consumed, Event event) {
        offset += consumed;
        return Step<Event>::found(consumed, std::move(event));
    }

    [[nodiscard]] std::unexpected<Error> fail(std::string_view record, std::string_view field, std::size_t at,
                                              std::string was, std::string expected) const {
        return stream_error(std::string(format_name), std::string(record), std::string(field), offset + at,
                            std::move(was), std::move(expected));
    }

    Result<Step<Event>> read_header(Bytes in);
    Result<Step<Event>> read_configuration(Bytes in);
    Result<Step<Event>> read_item(Bytes in);
    Result<Step<Event>> read_command(Bytes in);
    Result<Step<Event>> read_ram_start(Bytes in);
    Result<Step<Event>> read_ram_part(Bytes in, ItemType type);
    Result<std::size_t> read_blocks(Bytes in, std::size_t at, std::vector<RamBlock>& out) const;
    Result<Step<Event>> read_ram_record(Bytes in);
    Result<Step<Event>> read_page(Bytes in, std::uint64_t word);
    Result<Step<Event>> read_ram_tail(Bytes in);
    Result<Step<Event>> read_devices(Bytes in);
};

Result<Step<Event>> StreamReader::State::read_header(Bytes in) {
    constexpr std::string_view record = "file header";
    if (in.empty()) return More::more(1);
    if (in[0] == std::byte{tls_handshake})
        return refuse(record, "magic", offset, "a TLS handshake", "tls-creds");
    if (in.size() < 4) return More::more(4);
    const auto magic = load_be<std::uint32_t>(in);
    if (magic == multifd_magic) return refuse(record, "magic", offset, "a multifd channel", "multifd");
    if (magic != file_magic) return fail(record, "magic", 0, fmt::format("{:#010x}", magic), "\"QEVM\"");
    if (in.size() < 8) return More::more(8);
    if (const auto version = load_be<std::uint32_t>(in, 4); version != file_version)
        return fail(record, "version", 4, fmt::format("{}", version), fmt::format("{}", file_version));
    phase = Phase::configuration;
    return found(8, FileHeader{});
}

Result<Step<Event>> StreamReader::State::read_configuration(Bytes in) {
    VMFERRY_ASSIGN(const auto step, parse_configuration(in, offset));
    if (!step.event) return More::more(step.need);
    phase = Phase::before_ram;
    return found(step.consumed, Configuration{step.event->machine, step.event->subsections});
}

Result<Step<Event>> StreamReader::State::read_item(Bytes in) {
    if (in.empty()) return More::more(1);
    const auto type = static_cast<ItemType>(in[0]);
    switch (type) {
        case ItemType::command:
            return read_command(in);
        case ItemType::section_start:
            if (phase == Phase::before_ram) return read_ram_start(in);
            break;
        case ItemType::section_part:
        case ItemType::section_end:
            if (phase == Phase::between_parts) return read_ram_part(in, type);
            break;
        case ItemType::section_full:
            if (phase == Phase::between_parts)
                return refuse("section FULL", "type", offset, "device state before the END of ram",
                              "background-snapshot");
            if (phase == Phase::before_ram)
                return refuse("section FULL", "type", offset, "device state before ram", "",
                              "remove devices that send state early (virtio-mem)");
            phase = Phase::devices;
            return read_devices(in);
        default:
            break;
    }
    return fail(phase_name(phase), "type", 0, fmt::format("{:02x}", std::to_integer<unsigned>(in[0])),
                phase == Phase::before_ram      ? "START of ram (01) or a COMMAND (08)"
                : phase == Phase::between_parts ? "PART (02) or END (03) of ram, or a COMMAND (08)"
                                                : "a FULL section (04) or a COMMAND (08)");
}

Result<Step<Event>> StreamReader::State::read_command(Bytes in) {
    Cursor cursor(in, 1);
    if (!cursor.has(4)) return More::more(cursor.need());
    const auto command = cursor.be16();
    const auto length = cursor.be16();
    VMFERRY_TRY(check_command(command, length, offset));
    if (!cursor.has(length)) return More::more(cursor.need());
    const auto payload = cursor.take(length);
    return found(cursor.at(), CommandItem{static_cast<Command>(command), payload});
}

Result<Step<Event>> StreamReader::State::read_ram_start(Bytes in) {
    constexpr std::string_view record = "section START";
    Cursor cursor(in, 1);
    if (!cursor.has(5)) return More::more(cursor.need());
    const auto id = cursor.be32();
    const auto length = cursor.u8();
    if (!cursor.has(length + 8u)) return More::more(cursor.need());
    const auto name = as_text(cursor.take(length));
    if (name != "ram") return refuse_live_section(name, offset);
    if (const auto instance = cursor.be32(); instance != 0)
        return fail(record, "instance_id", cursor.at() - 4, fmt::format("{}", instance), "0");
    if (const auto version = cursor.be32(); version != ram_version)
        return fail(record, "version_id", cursor.at() - 4, fmt::format("{}", version),
                    fmt::format("{}", ram_version));
    if (!cursor.has(8)) return More::more(cursor.need());
    std::vector<RamBlock> list;
    VMFERRY_ASSIGN(const auto end, read_blocks(in, cursor.at(), list));
    if (end > in.size()) return More::more(end);
    ram_id = id;
    blocks = list;
    ram_item = ItemType::section_start;
    phase = Phase::in_ram;
    return found(end, RamStart{id, std::move(list)});
}

/// Position behind the list; beyond in.size() if bytes are missing.
Result<std::size_t> StreamReader::State::read_blocks(Bytes in, std::size_t at,
                                                     std::vector<RamBlock>& out) const {
    constexpr std::string_view record = "ram MEM_SIZE";
    Cursor cursor(in, at);
    const auto word = cursor.be64();
    if ((word & page_flags_mask) != page_mem_size)
        return fail(record, "flags", at, fmt::format("{:#05x}", word & page_flags_mask),
                    "the list of RAM blocks (MEM_SIZE, 0x004)");
    auto left = word & ~page_flags_mask;
    std::vector<std::size_t> starts;
    while (left != 0) {
        if (out.size() == max_ram_blocks)
            return fail(record, "count", cursor.at(), "one more block",
                        fmt::format("at most {}", max_ram_blocks));
        const auto start = cursor.at();
        if (!cursor.has(1)) return cursor.need();
        const auto length = cursor.u8();
        if (length == 0) return fail(record, "idstr", start, "an empty name", "1 to 255 bytes");
        if (!cursor.has(length + 8u)) return cursor.need();
        RamBlock block;
        block.idstr = as_text(cursor.take(length));
        block.used_length = cursor.be64();
        if (block.used_length == 0 || block.used_length % page_size != 0 || block.used_length > left ||
            block.used_length > max_block_length)
            return fail(record, "used_length", cursor.at() - 8, fmt::format("{:#x}", block.used_length),
                        fmt::format("whole pages, at most the {:#x} bytes of the total that are left", left));
        starts.push_back(start);
        left -= block.used_length;
        out.push_back(std::move(block));
    }
    if (out.empty()) return fail(record, "total", at, "0 bytes", "a machine with memory");
    std::unordered_set<std::string_view> names;
    for (std::size_t i = 0; i < out.size(); ++i)
        if (!names.insert(out[i].idstr).second)
            return fail(record, "idstr", starts[i], fmt::format("\"{}\" twice", out[i].idstr),
                        "each block once");
    return cursor.at();
}

Result<Step<Event>> StreamReader::State::read_ram_part(Bytes in, ItemType type) {
    Cursor cursor(in, 1);
    if (!cursor.has(4)) return More::more(cursor.need());
    const auto id = cursor.be32();
    if (id != ram_id)
        return fail(type == ItemType::section_end ? "section END" : "section PART", "section_id", 1,
                    fmt::format("{}", id), fmt::format("{}, which was started", ram_id));
    ram_item = type;
    phase = Phase::in_ram;
    return found(cursor.at(), RamPart{id, type == ItemType::section_end});
}

Result<Step<Event>> StreamReader::State::read_ram_record(Bytes in) {
    if (in.size() < 8) return More::more(8);
    const auto word = load_be<std::uint64_t>(in);
    const auto flags = word & page_flags_mask;
    if ((flags & ~page_continue) == page_normal || (flags & ~page_continue) == page_zero)
        return read_page(in, word);
    if (word == page_eos) return read_ram_tail(in);
    VMFERRY_TRY(check_page_flags(flags, offset));
    return fail("ram record", "flags", 0, fmt::format("{:#x}", word),
                "one of ZERO (0x002), PAGE (0x008), EOS (0x010), perhaps with CONTINUE (0x020)");
}

Result<Step<Event>> StreamReader::State::read_page(Bytes in, std::uint64_t word) {
    constexpr std::string_view record = "ram record";
    RamPage page;
    Cursor cursor(in, 8);
    page.named = (word & page_continue) == 0;
    if (page.named) {
        if (!cursor.has(1)) return More::more(cursor.need());
        const auto length = cursor.u8();
        if (!cursor.has(length)) return More::more(cursor.need());
        const auto name = as_text(cursor.take(length));
        const auto block = std::ranges::find_if(blocks, [name](const auto& b) { return b.idstr == name; });
        if (block == blocks.end())
            return fail(record, "idstr", 8, fmt::format("a name of {} bytes that was not listed", length),
                        "a block of the list");
        page.block = static_cast<std::uint32_t>(block - blocks.begin());
    } else {
        if (!current_block) return fail(record, "flags", 0, "CONTINUE", "a page that names its block first");
        page.block = *current_block;
    }
    page.offset = word & ~page_flags_mask;
    if (page.offset >= blocks[page.block].used_length)
        return fail(record, "offset", 0, fmt::format("{:#x} in {}", page.offset, blocks[page.block].idstr),
                    fmt::format("less than {:#x}", blocks[page.block].used_length));
    if ((word & page_normal) != 0) {
        if (!cursor.has(page_size)) return More::more(cursor.need());
        page.data = cursor.take(page_size);
        content_seen = true;
    } else {
        if (!cursor.has(1)) return More::more(cursor.need());
        if (const auto fill = cursor.u8(); fill != 0)
            return fail(record, "fill", cursor.at() - 1, fmt::format("{:#04x}", fill), "0");
    }
    current_block = page.block;
    return found(cursor.at(), page);
}

Result<Step<Event>> StreamReader::State::read_ram_tail(Bytes in) {
    Cursor cursor(in, 8);
    if (!cursor.has(5)) return More::more(cursor.need());
    if (const auto type = cursor.u8(); type != static_cast<std::uint8_t>(ItemType::section_footer))
        return fail("ram footer", "type", 8, fmt::format("{:02x}", type), "7e");
    if (const auto id = cursor.be32(); id != ram_id)
        return fail("ram footer", "section_id", 9, fmt::format("{}", id), fmt::format("{}", ram_id));
    if (ram_item != ItemType::section_end) {
        phase = Phase::between_parts;
    } else {
        // Every machine has firmware; pages that come on other channels leave no other trace here.
        if (!content_seen)
            return refuse("section END", "pages", offset, "ram without a single page with content",
                          "multifd");
        phase = Phase::after_ram;
    }
    return found(cursor.at(), RamTail{ram_id});
}

Result<Step<Event>> StreamReader::State::read_devices(Bytes in) {
    VMFERRY_ASSIGN(auto end, search.next(in, offset));
    if (!end) return More::more(in.size() + 1);
    phase = Phase::finished;
    return found(end->consumed, DeviceState{std::move(end->tree), end->raw, end->description});
}

StreamReader::StreamReader() : state_(std::make_unique<State>()) {}
StreamReader::~StreamReader() = default;
StreamReader::StreamReader(StreamReader&&) noexcept = default;
StreamReader& StreamReader::operator=(StreamReader&&) noexcept = default;

Result<Step<Event>> StreamReader::next(Bytes in) {
    switch (state_->phase) {
        case Phase::header:
            return state_->read_header(in);
        case Phase::configuration:
            return state_->read_configuration(in);
        case Phase::before_ram:
        case Phase::between_parts:
        case Phase::after_ram:
            return state_->read_item(in);
        case Phase::in_ram:
            return state_->read_ram_record(in);
        case Phase::devices:
            return state_->read_devices(in);
        case Phase::finished:
            break;
    }
    if (in.empty()) return More::more(1);
    return state_->fail("end", "rest", 0, fmt::format("{} bytes behind the description", in.size()),
                        "the end of the stream");
}

std::uint64_t StreamReader::offset() const {
    return state_->offset;
}

bool StreamReader::finished() const {
    return state_->phase == Phase::finished;
}

Error StreamReader::truncated(Bytes rest) const {
    if (state_->phase == Phase::devices) return state_->search.missing(rest, state_->offset);
    return state_
        ->fail(phase_name(state_->phase), "", rest.size(), "the end of the stream",
               "the rest of this item, and those that follow")
        .error();
}

}  // namespace vmferry::qemu
