#include "tests/parsers/qemu/support.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <zstd.h>

#include "parsers/qemu/format.hpp"

namespace vmferry::qemu::test {
namespace {

class Rewriter {
  public:
    Rewriter(ReadBack& out, bool trim) : result_(out), out_(out.rewritten), trim_(trim) {}

    void operator()(const FileHeader&) { write_file_header(out_); }
    void operator()(const Configuration& c) { write_configuration(out_, c.machine, c.subsections); }
    void operator()(const RamStart& start) {
        blocks_ = start.blocks;
        write_ram_start(out_, blocks_, start.section_id);
        out_.resize(out_.size() - 13);  // its tail is an event of its own
    }
    void operator()(const RamPart& part) {
        part.end ? write_ram_end_head(out_, part.section_id) : write_ram_part_head(out_, part.section_id);
    }
    void operator()(const RamPage& page) {
        if (trim_ && !page.named && ++left_out_ % 64 != 0) return;
        const std::string name = page.named ? blocks_.at(page.block).idstr : "";
        if (page.data.empty()) {
            ++result_.zero_pages;
            write_zero_page(out_, page.offset, name);
        } else {
            ++result_.pages;
            write_page_head(out_, page.offset, name);
            append(out_, page.data);
        }
    }
    void operator()(const RamTail& tail) { write_ram_tail(out_, tail.section_id); }
    void operator()(const CommandItem& item) {
        write_command(out_, static_cast<std::uint16_t>(item.command), item.payload);
    }
    void operator()(const DeviceState& state) {
        for (const auto& section : state.tree.sections) write_section(out_, section);
        write_eof(out_);
        write_description(out_, state.description);
    }

  private:
    ReadBack& result_;
    Buffer& out_;
    bool trim_;
    std::size_t left_out_ = 0;
    std::vector<RamBlock> blocks_;
};

Field field(std::string name, std::string type, std::uint32_t count, std::uint32_t size, std::uint8_t first) {
    Field out;
    out.name = std::move(name);
    out.type = std::move(type);
    out.count = count;
    out.size = size;
    for (std::uint32_t i = 0; i < count * size; ++i) out.data.push_back(static_cast<std::byte>(first + i));
    return out;
}

Section section(std::uint32_t id, std::string idstr, std::uint32_t version, Struct root) {
    Section out;
    out.section_id = id;
    out.idstr = std::move(idstr);
    out.version = version;
    out.root = std::move(root);
    return out;
}

}  // namespace

Buffer load_capture(const std::string& name) {
    std::ifstream in(fmt::format(VMFERRY_SOURCE_DIR "/captures/{}", name), std::ios::binary);
    if (!in) throw std::runtime_error("captures/" + name + " is missing");
    const std::vector<char> packed{std::istreambuf_iterator<char>(in), {}};
    ZSTD_DCtx* context = ZSTD_createDCtx();
    Buffer out;
    Buffer piece(ZSTD_DStreamOutSize());
    ZSTD_inBuffer from{packed.data(), packed.size(), 0};
    while (from.pos < from.size) {
        ZSTD_outBuffer to{piece.data(), piece.size(), 0};
        if (ZSTD_isError(ZSTD_decompressStream(context, &to, &from)))
            throw std::runtime_error("captures/" + name + " is damaged");
        append(out, Bytes(piece).first(to.pos));
    }
    ZSTD_freeDCtx(context);
    return out;
}

std::vector<std::string> good_captures() {
    return {"qemu-7.2/q1-i440fx-S.bin.zst",        "qemu-7.2/q6-i440fx-nics-run.bin.zst",
            "qemu-7.2/q12-i440fx-210-run.bin.zst", "qemu-7.2/q18-i440fx-smp6-sparse-apicid-S.bin.zst",
            "qemu-7.2/q22-i440fx-irq-run.bin.zst", "qemu-7.2/m1-tcp-plain-events.c0.s2d.zst",
            "qemu-7.2/m2b-live-rounds.c0.s2d.zst", "qemu-7.2/m8-validate-uuid.c0.s2d.zst",
            "qemu-10.0/kvm-i440fx.bin.zst",        "qemu-10.0/kvm-q35.bin.zst",
            "qemu-10.0/kvm-split.bin.zst",         "qemu-10.0/tcg-i440fx-10.0.bin.zst"};
}

std::string build_description() {
    return R"({"page_size": 4096, "devices": [)"
           R"({"name": "timer", "instance_id": 0, "vmsd_name": "timer", "version": 2, "fields": [)"
           R"({"name": "ticks", "type": "int64", "size": 8}]}, )"
           R"({"name": "0000:00:03.0/toy", "instance_id": 0, "vmsd_name": "toy", "version": 3, "fields": [)"
           R"({"name": "mode", "type": "uint8", "size": 1}, )"
           R"({"name": "regs", "array_len": 4, "type": "uint32", "size": 4}, )"
           R"({"name": "drive", "index": 0, "type": "struct", "struct": {"vmsd_name": "toy drive", "version": 1, )"
           R"("fields": [{"name": "head", "type": "uint16", "size": 2}]}, "size": 2}, )"
           R"({"name": "drive", "type": "struct", "struct": {"vmsd_name": "toy drive", "version": 1, )"
           R"("fields": [{"name": "head", "type": "uint16", "size": 2}, )"
           R"({"name": "data", "type": "buffer", "size": 3}]}, "size": 5}], )"
           R"("subsections": [{"vmsd_name": "toy/extra", "version": 1, "fields": [)"
           R"({"name": "level", "type": "bool", "size": 1}]}]}, )"
           R"({"name": "slirp", "instance_id": 0, "size": 5, "fields": [)"
           R"({"name": "data", "size": 5, "type": "buffer"}]}]})";
}

BuiltStream build_stream() {
    BuiltStream out;
    auto& bytes = out.bytes;
    const auto mark = [&](const char* name) { out.at[name] = bytes.size(); };
    const Buffer page(page_size, std::byte{0xa5});
    const std::vector<RamBlock> blocks = {{"pc.ram", 16 * page_size},
                                          {"0000:00:02.0/vga.vram", 4 * page_size}};

    mark("header");
    write_file_header(bytes);
    mark("configuration");
    write_configuration(bytes, "pc-i440fx-7.2");
    mark("uuid");
    append_be(bytes, std::uint8_t{0x05});
    append_be(bytes, std::uint8_t{18});
    append(bytes, std::string_view("configuration/uuid"));
    append_be(bytes, std::uint32_t{1});
    append(bytes, Bytes(page).first(16));
    mark("OPEN_RETURN_PATH");
    write_command(bytes, 1);
    mark("PING");
    write_command(bytes, 2, Bytes(page).first(4));

    mark("START");
    write_ram_start(bytes, blocks, 2);
    out.at["MEM_SIZE"] = out.at["START"] + 1 + 4 + 1 + 3 + 4 + 4;
    out.at["block"] = out.at["MEM_SIZE"] + 8;
    out.at["START EOS"] = bytes.size() - 13;
    out.at["START footer"] = bytes.size() - 5;
    mark("PART");
    write_ram_part_head(bytes, 2);
    mark("page");
    write_page_head(bytes, 0, "pc.ram");
    append(bytes, page);
    mark("continued");
    write_page_head(bytes, 3 * page_size, "");
    append(bytes, page);
    mark("zero");
    write_zero_page(bytes, page_size, "0000:00:02.0/vga.vram");
    mark("PART EOS");
    write_ram_tail(bytes, 2);
    mark("PART 2");
    write_ram_part_head(bytes, 2);
    write_zero_page(bytes, 2 * page_size, "");
    write_ram_tail(bytes, 2);
    mark("SWITCHOVER_START");
    write_command(bytes, 11);
    mark("END");
    write_ram_end_head(bytes, 2);
    write_page_head(bytes, 15 * page_size, "pc.ram");
    append(bytes, page);
    mark("END EOS");
    write_ram_tail(bytes, 2);

    mark("timer");
    write_section(
        bytes,
        section(0, "timer", 2,
                {.vmsd_name = "timer", .version = 2, .fields = {field("ticks", "int64", 1, 8, 0x10)}}));
    mark("toy");
    Field drives = field("drive", "struct", 0, 0, 0);
    drives.count = 2;
    drives.elements = {
        {.vmsd_name = "toy drive", .version = 1, .fields = {field("head", "uint16", 1, 2, 0x60)}},
        {.vmsd_name = "toy drive",
         .version = 1,
         .fields = {field("head", "uint16", 1, 2, 0x62), field("data", "buffer", 1, 3, 0x64)}}};
    const Struct extra{.vmsd_name = "toy/extra", .version = 1, .fields = {field("level", "bool", 1, 1, 1)}};
    const auto toy =
        section(7, "0000:00:03.0/toy", 3,
                {.vmsd_name = "toy",
                 .version = 3,
                 .fields = {field("mode", "uint8", 1, 1, 0x7f), field("regs", "uint32", 4, 4, 0x20), drives},
                 .subsections = {extra}});
    write_section(bytes, toy);
    out.at["toy payload"] = out.at["toy"] + 1 + 4 + 1 + toy.idstr.size() + 8;
    out.at["toy subsection"] = out.at["toy payload"] + 1 + 16 + 2 + 5;
    out.at["toy footer"] = bytes.size() - 5;
    mark("slirp");
    write_section(bytes, section(9, "slirp", 4, {.fields = {field("data", "buffer", 1, 5, 0x70)}}));
    mark("EOF");
    write_eof(bytes);
    mark("VMDESCRIPTION");
    write_description(bytes, build_description());
    out.at["json"] = out.at["VMDESCRIPTION"] + 5;
    return out;
}

ReadBack read_all(Bytes bytes, const std::function<std::size_t(std::size_t)>& chunk, bool trim) {
    ReadBack out;
    Rewriter rewrite(out, trim);
    StreamReader reader;
    std::size_t start = 0;
    std::size_t end = chunk ? 0 : bytes.size();
    bool devices = false;
    while (true) {
        const auto in = bytes.subspan(start, end - start);
        auto step = reader.next(in);
        if (!step) {
            out.error = std::move(step).error();
            return out;
        }
        if (step->event) {
            // Millions of times: doctest's own macros would cost more than the reader.
            if (step->consumed == 0 || step->consumed > in.size()) FAIL("consumed " << step->consumed);
            std::visit(rewrite, *step->event);
            start += step->consumed;
            if (reader.offset() != start) FAIL("offset " << reader.offset());
            const auto* tail = std::get_if<DeviceState>(&*step->event);
            if (tail) {
                CHECK(reader.finished());
                devices = true;
            }
            continue;
        }
        if (step->consumed != 0 || step->need <= in.size()) FAIL("need " << step->need);
        const bool held = !in.empty() && in[0] == std::byte{0x04};
        if (!held) out.largest_need = std::max(out.largest_need, step->need);
        if (end == bytes.size()) {
            if (!devices) out.error = reader.truncated(in);
            return out;
        }
        do {
            end = std::min(bytes.size(), end + chunk(in.size()));
        } while (end - start < step->need && end < bytes.size());
    }
}

Buffer load_trimmed(const std::string& name) {
    return read_all(load_capture(name), {}, true).rewritten;
}

std::string difference(const Struct& a, const Struct& b, const std::vector<std::string>& renamed,
                       const std::string& path) {
    const auto here = path.empty() ? a.vmsd_name : path;
    if (a.vmsd_name != b.vmsd_name || a.version != b.version)
        return fmt::format("{}: {} v{} / {} v{}", here, a.vmsd_name, a.version, b.vmsd_name, b.version);
    if (a.fields.size() != b.fields.size())
        return fmt::format("{}: {} / {} fields", here, a.fields.size(), b.fields.size());
    for (std::size_t i = 0; i < a.fields.size(); ++i) {
        const auto& x = a.fields[i];
        const auto& y = b.fields[i];
        const bool may_differ = std::ranges::find(renamed, x.name) != renamed.end();
        const bool same_form = x.name == y.name && x.type == y.type && x.count == y.count && x.size == y.size;
        if ((!same_form && !may_differ) || x.data != y.data || x.elements.size() != y.elements.size())
            return fmt::format("{}: {} {} x{} of {} / {} {} x{} of {}{}", here, x.type, x.name, x.count,
                               x.size, y.type, y.name, y.count, y.size,
                               x.data != y.data ? ", other bytes" : "");
        for (std::size_t k = 0; k < x.elements.size(); ++k)
            if (auto inner = difference(x.elements[k], y.elements[k], renamed,
                                        fmt::format("{}|{}|{}", here, x.name, k));
                !inner.empty())
                return inner;
    }
    if (a.subsections.size() != b.subsections.size())
        return fmt::format("{}: {} / {} subsections", here, a.subsections.size(), b.subsections.size());
    for (std::size_t i = 0; i < a.subsections.size(); ++i)
        if (auto inner = difference(a.subsections[i], b.subsections[i], renamed,
                                    here + "|+" + a.subsections[i].vmsd_name);
            !inner.empty())
            return inner;
    return {};
}

}  // namespace vmferry::qemu::test
