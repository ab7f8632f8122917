#include "proxy/compare_blocks.hpp"

#include <algorithm>

#include "parsers/wire/bytes.hpp"

namespace vmferry {

Result<void> compare_blocks(const char* component, const std::vector<qemu::RamBlock>& blocks,
                            const std::vector<RamRange>& ram,
                            std::initializer_list<std::pair<std::string, std::uint64_t>> others) {
    const auto compare = [&](const std::string& name, std::uint64_t bytes) -> Result<void> {
        const auto block = std::ranges::find(blocks, name, &qemu::RamBlock::idstr);
        if (block != blocks.end() && block->used_length == bytes) return {};
        return environment_error(
            component, fmt::format("comparing RAM block {} with the plan", name),
            block == blocks.end() ? "no such block" : fmt::format("{:#x} bytes", block->used_length),
            fmt::format("{:#x} bytes", bytes));
    };
    for (const auto& range : ram) {
        std::uint64_t end = 0;
        for (const auto& other : ram)
            if (other.block == range.block)
                end = std::max(end, other.block_offset + other.frames * page_size);
        VMFERRY_TRY(compare(range.block, end));
    }
    for (const auto& [name, bytes] : others)
        if (!name.empty()) VMFERRY_TRY(compare(name, bytes));
    return {};
}

}  // namespace vmferry
