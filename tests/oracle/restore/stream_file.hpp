// Where the parts of a Xen stream lie: what `xl migrate` sends and what `xl save` writes. A second, small
// reader, which shares nothing with parsers/: it judges what those wrote.
//
//     0   32  "Xen saved domain, xl format\n \0 \r"
//     32   4  0x01020304 · 4 mandatory flags (1 JSON, 2 libxl stream v2) · 4 optional flags · 4 length L
//     48   L  4 length of the configuration · the configuration, JSON with a NUL behind it
//             "LibxlFmt" · BE 4 version 2 · BE 4 options                                    libxl header
//             4 type 1 (LIBXC_CONTEXT) · 4 length 0
//             … libxc's image, which xc_domain_restore() reads …
//             4 type · 4 length · body, padded to 8 bytes …                                 libxl records
//             4 type 0 (END) · 4 length 0
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace oracle {

/// The stream is not one. A program that judges may throw: whatever is wrong ends it.
struct BadStream : std::runtime_error {
    using runtime_error::runtime_error;
};

struct Head {
    nlohmann::json config;
    std::uint64_t image = 0;  ///< offset of libxc's image header
};

struct LibxlRecord {
    std::uint32_t type = 0, length = 0;
    std::uint64_t body = 0;  ///< its offset in the file
};

struct Tail {
    std::vector<LibxlRecord> records;  ///< END is the last one
    std::uint64_t end = 0;             ///< offset behind it
};

/// Moves the file's position.
Head read_head(int file);
/// From where xc_domain_restore() has stopped reading.
Tail read_tail(int file);

std::vector<unsigned char> read_at(int file, std::uint64_t offset, std::size_t bytes);

}  // namespace oracle
