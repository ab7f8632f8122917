// Every field of every record by the name that Xen gives it, for people and for JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "parsers/xen/hvm_context.hpp"
#include "parsers/xen/records.hpp"

namespace vmferry::xen {

struct Field {
    enum class Kind { number, text, group };
    std::string name;
    Kind kind = Kind::text;
    std::string text = {};           ///< the value for people: decimal or 0x…, text, or hex digits of bytes
    std::uint64_t number = 0;        ///< the value of a number; two's complement if it is signed
    std::vector<Field> fields = {};  ///< of a group
    bool reserved = false;           ///< padding and what the specification reserves: hardly worth a line

    // Place in the current structure of an HVM record's body; size 0 = not one place. A field that is part of
    // `size` bytes has a width in bits, counted from the lowest.
    std::size_t at = 0, size = 0;
    unsigned bit = 0, width = 0;
};

struct Description {
    std::string layer;  ///< "xl", "libxl", "libxc", "HVM_CONTEXT"
    std::string name;   ///< "PAGE_DATA", "CPU", …
    std::vector<Field> fields;
};

/// PageBatch lists its frames as ranges; payload (pages, blobs) is given by its size.
[[nodiscard]] Description describe(const Record& record);

/// Fields that stood beyond the end of a shorter body of an older release are left out.
[[nodiscard]] Description describe(const HvmRecord& record);

/// "STORE_PFN", …; empty for a number that Xen does not define.
[[nodiscard]] const char* hvm_param_name(std::uint64_t index);

/// "normal", "L1TAB", "XTAB", …
[[nodiscard]] const char* page_type_name(std::uint8_t type);

}  // namespace vmferry::xen
