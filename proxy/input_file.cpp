#include "proxy/input_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

namespace vmferry {

namespace {

constexpr std::size_t head_size = 24;             // longest magic: libxc's image header
constexpr std::size_t chunk = 128u << 10;         // of compressed input
constexpr int max_window_log = 27;                // zstd's own default: 128 MiB, `--long` or -22 at most
constexpr std::uint32_t zstd_magic = 0xFD2FB528;  // RFC 8878, 3.1.1
constexpr std::uint32_t skippable = 0x184D2A50;   // RFC 8878, 3.1.2: low four bits are free
constexpr std::string_view xl_magic = "Xen saved domain, xl format\n \0 \r";
constexpr std::string_view libxl_magic = "LibxlFmt";
constexpr std::uint32_t libxc_id = 0x58454E46;    // "XENF"
constexpr std::uint32_t qemu_magic = 0x5145564D;  // "QEVM"

bool begins_with(Bytes head, std::string_view magic) {
    const auto size = std::min(head_size, magic.size());
    return head.size() >= size && as_text(head.first(size)) == magic.substr(0, size);
}

}  // namespace

const char* stream_format_name(StreamFormat format) {
    switch (format) {
        case StreamFormat::xen_xl:
            return "Xen (xl save or xl migrate)";
        case StreamFormat::xen_libxl:
            return "Xen (libxl stream without xl header)";
        case StreamFormat::xen_libxc:
            return "Xen (libxc stream alone)";
        case StreamFormat::qemu:
            return "QEMU migration stream";
        case StreamFormat::unknown:
            break;
    }
    return "unknown";
}

StreamFormat stream_format_of(Bytes head) {
    if (begins_with(head, xl_magic)) return StreamFormat::xen_xl;
    if (begins_with(head, libxl_magic)) return StreamFormat::xen_libxl;
    if (head.size() >= 12 && load_be<std::uint64_t>(head) == ~0ull &&
        load_be<std::uint32_t>(head, 8) == libxc_id)
        return StreamFormat::xen_libxc;
    if (head.size() >= 4 && load_be<std::uint32_t>(head) == qemu_magic) return StreamFormat::qemu;
    return StreamFormat::unknown;
}

struct InputFile::State {
    std::string path;
    int fd = -1;
    std::uint64_t size = 0, position = 0;
    ZSTD_DStream* unpacker = nullptr;
    bool in_frame = false;
    Buffer packed;  // read from the file, not unpacked (or, in a plain file, not handed out) yet
    std::size_t packed_begin = 0;
    Buffer head;  // unpacked to look at, not handed out yet
    std::size_t head_begin = 0;
    StreamFormat format = StreamFormat::unknown;

    ~State() {
        ZSTD_freeDStream(unpacker);
        if (fd > STDIN_FILENO) ::close(fd);
    }

    Result<std::size_t> read_file(std::span<std::byte> into) {
        for (;;) {
            const auto n = ::read(fd, into.data(), into.size());
            if (n >= 0) {
                position += static_cast<std::uint64_t>(n);
                return static_cast<std::size_t>(n);
            }
            if (errno != EINTR)
                return environment_error(path, "reading",
                                         std::error_code(errno, std::generic_category()).message());
        }
    }

    Result<bool> refill() {
        packed.resize(chunk);
        VMFERRY_ASSIGN(const auto n, read_file(packed));
        packed.resize(n);
        packed_begin = 0;
        return n > 0;
    }

    Result<std::size_t> unpack(std::span<std::byte> into) {
        ZSTD_outBuffer out{into.data(), into.size(), 0};
        while (out.pos == 0) {
            if (packed_begin == packed.size()) {
                VMFERRY_ASSIGN(const bool more, refill());
                if (!more) {
                    if (!in_frame) return std::size_t{0};
                    return stream_error("zstd", "frame", "", position, "end of file", "the rest of a frame");
                }
            }
            ZSTD_inBuffer in{packed.data(), packed.size(), packed_begin};
            const auto hint = ZSTD_decompressStream(unpacker, &out, &in);
            if (ZSTD_isError(hint) != 0)
                return stream_error("zstd", "frame", "", position - packed.size() + in.pos,
                                    ZSTD_getErrorName(hint), "a valid frame");
            packed_begin = in.pos;
            in_frame = hint != 0;
        }
        return out.pos;
    }

    Result<std::size_t> read_plain(std::span<std::byte> into) {
        if (packed_begin == packed.size()) return read_file(into);
        const auto n = std::min(into.size(), packed.size() - packed_begin);
        std::memcpy(into.data(), packed.data() + packed_begin, n);
        packed_begin += n;
        return n;
    }

    Result<std::size_t> produce(std::span<std::byte> into) {
        return unpacker != nullptr ? unpack(into) : read_plain(into);
    }

    // Reads until `wanted` bytes are in `buffer` or the input ends.
    template <typename Read>
    static Result<void> collect(Buffer& buffer, std::size_t wanted, Read read) {
        buffer.resize(wanted);
        std::size_t have = 0;
        while (have < wanted) {
            VMFERRY_ASSIGN(const auto n, read(std::span(buffer).subspan(have)));
            if (n == 0) break;
            have += n;
        }
        buffer.resize(have);
        return {};
    }

    Result<void> begin() {
        VMFERRY_TRY(collect(packed, 4, [&](auto into) { return read_file(into); }));
        if (packed.size() == 4) {
            const auto magic = load_le<std::uint32_t>(packed);
            if (magic == zstd_magic || (magic & ~0xFu) == skippable) {
                unpacker = ZSTD_createDStream();
                if (unpacker == nullptr) return environment_error("zstd", "starting", "out of memory");
                ZSTD_DCtx_setParameter(unpacker, ZSTD_d_windowLogMax, max_window_log);
            }
        }
        VMFERRY_TRY(collect(head, head_size, [&](auto into) { return produce(into); }));
        format = stream_format_of(head);
        return {};
    }
};

InputFile::InputFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
InputFile::~InputFile() = default;
InputFile::InputFile(InputFile&&) noexcept = default;
InputFile& InputFile::operator=(InputFile&&) noexcept = default;

Result<InputFile> InputFile::open(const std::string& path) {
    auto state = std::make_unique<State>();
    state->path = path;
    state->fd = path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (state->fd < 0)
        return environment_error(path, "opening", std::error_code(errno, std::generic_category()).message());
    struct stat status {};
    if (::fstat(state->fd, &status) == 0 && S_ISREG(status.st_mode))
        state->size = static_cast<std::uint64_t>(status.st_size);
    VMFERRY_TRY(state->begin());
    return InputFile(std::move(state));
}

Result<std::size_t> InputFile::read(std::span<std::byte> into) {
    auto& state = *state_;
    if (state.head_begin == state.head.size()) return state.produce(into);
    const auto n = std::min(into.size(), state.head.size() - state.head_begin);
    std::memcpy(into.data(), state.head.data() + state.head_begin, n);
    state.head_begin += n;
    return n;
}

StreamFormat InputFile::format() const {
    return state_->format;
}
bool InputFile::compressed() const {
    return state_->unpacker != nullptr;
}
std::uint64_t InputFile::file_size() const {
    return state_->size;
}
std::uint64_t InputFile::file_position() const {
    return state_->position;
}

}  // namespace vmferry
