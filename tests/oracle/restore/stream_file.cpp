#include "stream_file.hpp"

#include <cstring>

#include <fmt/format.h>
#include <unistd.h>

namespace oracle {

namespace {

constexpr unsigned char magic[] = "Xen saved domain, xl format\n \0 \r";
constexpr std::size_t magic_bytes = sizeof magic - 1;
static_assert(magic_bytes == 32);
constexpr std::uint32_t json_flag = 1, stream_v2_flag = 2, config_limit = 16 << 20;
constexpr std::uint32_t end_record = 0, libxc_context = 1, last_known_record = 5;

void read_exactly(int file, void* to, std::size_t bytes, const char* what) {
    auto* at = static_cast<unsigned char*>(to);
    while (bytes != 0) {
        const auto got = read(file, at, bytes);
        if (got <= 0) throw BadStream(fmt::format("the file ends within {}", what));
        at += got;
        bytes -= static_cast<std::size_t>(got);
    }
}

template <class T>
T read_value(int file, const char* what) {
    T value;
    read_exactly(file, &value, sizeof value, what);
    return value;
}

std::uint64_t position(int file) {
    return static_cast<std::uint64_t>(lseek(file, 0, SEEK_CUR));
}

LibxlRecord read_record(int file) {
    LibxlRecord record;
    record.type = read_value<std::uint32_t>(file, "the head of a libxl record");
    record.length = read_value<std::uint32_t>(file, "the head of a libxl record");
    record.body = position(file);
    return record;
}

void expect(bool condition, const std::string& text) {
    if (!condition) throw BadStream(text);
}

}  // namespace

Head read_head(int file) {
    unsigned char found[magic_bytes];
    read_exactly(file, found, sizeof found, "xl's magic");
    expect(std::memcmp(found, magic, magic_bytes) == 0, "xl's magic is missing");
    const auto order = read_value<std::uint32_t>(file, "xl's header");
    const auto mandatory = read_value<std::uint32_t>(file, "xl's header");
    read_value<std::uint32_t>(file, "xl's header");
    const auto length = read_value<std::uint32_t>(file, "xl's header");
    expect(order == 0x01020304, fmt::format("byte order mark {:#x}", order));
    expect(mandatory == (json_flag | stream_v2_flag), fmt::format("mandatory flags {:#x}, not 3", mandatory));
    const auto text_bytes = read_value<std::uint32_t>(file, "the configuration");
    expect(length >= 4 && text_bytes <= length - 4 && length <= config_limit,
           fmt::format("a configuration of {} bytes in {} of optional data", text_bytes, length));
    std::string text(length - 4, '\0');
    read_exactly(file, text.data(), text.size(), "the configuration");
    text.resize(text_bytes);
    // xl takes the buffer for a C string: without the NUL it reads past its end.
    expect(!text.empty() && text.back() == '\0', "no NUL behind the configuration");
    Head head;
    head.config = nlohmann::json::parse(text.begin(), text.begin() + std::ptrdiff_t(text.find('\0')));

    unsigned char libxl[16];
    read_exactly(file, libxl, sizeof libxl, "libxl's header");
    expect(std::memcmp(libxl, "LibxlFmt\0\0\0\2\0\0\0\0", sizeof libxl) == 0,
           "libxl's header is not version 2 without options");
    const auto first = read_record(file);
    expect(first.type == libxc_context && first.length == 0, "libxl's first record is not LIBXC_CONTEXT");
    head.image = position(file);
    return head;
}

Tail read_tail(int file) {
    Tail tail;
    do {
        const auto record = read_record(file);
        expect(record.type <= last_known_record && record.type != libxc_context,
               fmt::format("libxl record of type {}", record.type));
        std::vector<unsigned char> padding((0 - record.length) & 7);
        lseek(file, static_cast<off_t>(record.body + record.length), SEEK_SET);
        read_exactly(file, padding.data(), padding.size(), "a libxl record");
        tail.records.push_back(record);
    } while (tail.records.back().type != end_record);
    expect(tail.records.back().length == 0, "libxl's END has a body");
    tail.end = position(file);
    return tail;
}

std::vector<unsigned char> read_at(int file, std::uint64_t offset, std::size_t bytes) {
    std::vector<unsigned char> data(bytes);
    lseek(file, static_cast<off_t>(offset), SEEK_SET);
    read_exactly(file, data.data(), data.size(), "a libxl record");
    return data;
}

}  // namespace oracle
