#include "parsers/xen/stream_writer.hpp"

#include "parsers/xen/libxc_records.hpp"
#include "parsers/xen/libxl_records.hpp"
#include "parsers/xen/record_header.hpp"
#include "parsers/xen/xl_header.hpp"

namespace vmferry::xen {

namespace {

/// A record whose body is appended while this lives; its end sets the length and pads. Records are aligned to
/// the start of their layer, which `out` may not begin with: only the body's own size counts.
class RecordScope {
  public:
    template <typename Type>
    RecordScope(Buffer& out, Type type) : out_(out), at_(out.size()) {
        append_le(out_, static_cast<std::uint32_t>(type));
        append_le(out_, std::uint32_t{0});
    }
    RecordScope(const RecordScope&) = delete;
    RecordScope& operator=(const RecordScope&) = delete;
    ~RecordScope() {
        const auto body = at_ + RecordHeader::size;
        const auto length = static_cast<std::uint32_t>(out_.size() - body);
        std::memcpy(out_.data() + at_ + 4, &length, sizeof length);
        out_.resize(body + RecordHeader{0, length}.padded());
    }

  private:
    Buffer& out_;
    std::size_t at_;
};

std::uint32_t size32(std::size_t size) {
    return static_cast<std::uint32_t>(size);
}

}  // namespace

void write(Buffer& out, const XlHeader& header) {
    const auto config_length = header.config.size() + 1;
    append(out, xl_magic);
    append_le(out, std::uint32_t{0x01020304});
    append_le(out, header.mandatory_flags);
    append_le(out, header.optional_flags);
    append_le(out, size32(4 + config_length + header.further_data.size()));
    append_le(out, size32(config_length));
    append(out, std::string_view(header.config));
    out.push_back(std::byte{0});
    append(out, std::string_view(header.further_data));
}

void write(Buffer& out, const LibxlHeader& header) {
    append_be(out, libxl_ident);
    append_be(out, header.version);
    append_be(out, header.options);
}

void write(Buffer& out, const LibxcContext&) {
    RecordScope scope(out, LibxlType::libxc_context);
}

void write(Buffer& out, const EmulatorXenstoreData& record) {
    RecordScope scope(out, LibxlType::emulator_xenstore_data);
    append_le(out, record.emulator);
    append_le(out, record.index);
    for (const auto& [key, value] : record.entries)
        for (const auto* text : {&key, &value}) {
            append(out, std::string_view(*text));
            out.push_back(std::byte{0});
        }
}

void write(Buffer& out, const EmulatorContext& record) {
    RecordScope scope(out, LibxlType::emulator_context);
    append_le(out, record.emulator);
    append_le(out, record.index);
    append(out, record.blob);
}

void write(Buffer& out, const LibxlEnd&) {
    RecordScope scope(out, LibxlType::end);
}

void write(Buffer& out, const ImageHeader& header) {
    append_be(out, image_marker);
    append_be(out, image_id);
    append_be(out, header.version);
    append_be(out, header.options);
    append_be(out, std::uint16_t{0});
    append_be(out, std::uint32_t{0});
}

void write(Buffer& out, const DomainHeader& header) {
    append_le(out, header.type);
    append_le(out, header.page_shift);
    append_le(out, std::uint16_t{0});
    append_le(out, header.xen_major);
    append_le(out, header.xen_minor);
}

void write(Buffer& out, const CpuidPolicyRecord& record) {
    RecordScope scope(out, LibxcType::x86_cpuid_policy);
    for (const auto& leaf : record.leaves)
        for (const auto word : {leaf.leaf, leaf.subleaf, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx})
            append_le(out, word);
}

void write(Buffer& out, const MsrPolicyRecord& record) {
    RecordScope scope(out, LibxcType::x86_msr_policy);
    for (const auto& entry : record.entries) {
        append_le(out, entry.index);
        append_le(out, std::uint32_t{0});
        append_le(out, entry.value);
    }
}

void write(Buffer& out, const StaticDataEnd& record) {
    if (!record.inferred) RecordScope scope(out, LibxcType::static_data_end);
}

void write(Buffer& out, const TscInfo& record) {
    RecordScope scope(out, LibxcType::x86_tsc_info);
    append_le(out, record.mode);
    append_le(out, record.khz);
    append_le(out, record.nsec);
    append_le(out, record.incarnation);
    append_le(out, std::uint32_t{0});
}

void write(Buffer& out, const HvmContextRecord& record) {
    RecordScope scope(out, LibxcType::hvm_context);
    append(out, record.blob);
}

void write(Buffer& out, const HvmParams& record) {
    RecordScope scope(out, LibxcType::hvm_params);
    append_le(out, size32(record.params.size()));
    append_le(out, std::uint32_t{0});
    for (const auto& param : record.params) {
        append_le(out, param.index);
        append_le(out, param.value);
    }
}

void write(Buffer& out, const Verify&) {
    RecordScope scope(out, LibxcType::verify);
}

void write(Buffer& out, const SkippedOptional& record) {
    const RecordHeader header{record.type, record.length};
    if (record.at == 0) {
        append_le(out, header.type);
        append_le(out, header.length);
    }
    append(out, record.part);
    if (record.at + record.part.size() == header.length)
        out.resize(out.size() + header.padded() - header.length);
}

void write(Buffer& out, const LibxcEnd&) {
    RecordScope scope(out, LibxcType::end);
}

void write_page_batch(Buffer& out, std::span<const PageEntry> entries) {
    std::size_t with_data = 0;
    for (const auto& entry : entries) with_data += entry.has_data() ? 1 : 0;
    out.reserve(out.size() + RecordHeader::size + 8 + 8 * entries.size());
    append_le(out, static_cast<std::uint32_t>(LibxcType::page_data));
    append_le(out, size32(8 + 8 * entries.size() + page_size * with_data));
    append_le(out, size32(entries.size()));
    append_le(out, std::uint32_t{0});
    for (const auto& entry : entries) append_le(out, entry.gfn | std::uint64_t{entry.type} << 60);
}

void write_record(Buffer& out, const Record& record) {
    std::visit(
        [&out](const auto& alternative) {
            using T = std::remove_cvref_t<decltype(alternative)>;
            if constexpr (std::is_same_v<T, PageBatch>)
                write_page_batch(out, *alternative.entries);
            else if constexpr (std::is_same_v<T, PageRun>)
                append(out, alternative.pages);
            else if constexpr (!std::is_same_v<T, StreamEnd>)
                write(out, alternative);
        },
        record);
}

}  // namespace vmferry::xen
