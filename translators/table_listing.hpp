// All rows of all tables, side by side: what `vmferry table` prints.
#pragma once

#include <string>
#include <vector>

#include "translators/table/row.hpp"

namespace vmferry {

struct TableListing {
    std::string field;       ///< of the neutral machine; what it is, for something that is not carried
    std::string xen;         ///< place in Xen's records, empty if none
    std::string qemu;        ///< place in QEMU's sections, empty if none
    Law law = Law::exact;    ///< the weaker of the two sides'
    std::string conversion;  ///< how and why, empty for a plain copy
    std::string absent;      ///< value when the record is missing
};

/// Rows of both sides that name the same neutral field are one line. Then the devices that cross as they are,
/// and what stays the template's.
[[nodiscard]] std::vector<TableListing> list_tables();

}  // namespace vmferry
