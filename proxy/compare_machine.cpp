#include "proxy/compare_machine.hpp"

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "proxy/qmp_call.hpp"

namespace vmferry {

using nlohmann::json;

namespace {

std::unexpected<Error> different(std::string found, std::string expected) {
    Error error{ErrorKind::environment,
                "QEMU",
                "comparing the adopted machine with the template",
                {},
                0,
                std::move(found),
                std::move(expected)};
    error.hint = "start it with the arguments that `vmferry plan` prints";
    return std::unexpected(std::move(error));
}

struct BlockSizes {
    std::uint64_t used = 0, total = 0;  ///< they differ only for blocks that can be resized
};

/// «Block Name    PSize              Offset               Used              Total», one line per block.
std::map<std::string, BlockSizes> read_ram_blocks(const std::string& text) {
    std::map<std::string, BlockSizes> blocks;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words(line);
        std::string name, word;
        words >> name;
        std::vector<std::uint64_t> numbers;
        while (words >> word)
            if (word.starts_with("0x")) numbers.push_back(std::strtoull(word.c_str(), nullptr, 16));
        if (numbers.size() >= 3) blocks[name] = {numbers[1], numbers[2]};
    }
    return blocks;
}

Result<void> compare_blocks(const qemu::Snapshot& twin, const std::string& text) {
    auto blocks = read_ram_blocks(text);
    for (const auto& block : twin.blocks) {
        const auto found = blocks.find(block.idstr);
        const auto expected = fmt::format("{} with {:#x} bytes", block.idstr, block.used_length);
        if (found == blocks.end()) return different("it has no RAM block " + block.idstr, expected);
        const auto [used, total] = found->second;
        if (used == total ? block.used_length != total : block.used_length > total)
            return different(fmt::format("RAM block {} with {:#x} bytes", block.idstr, total), expected);
        blocks.erase(found);
    }
    if (!blocks.empty()) return different("it has a RAM block " + blocks.begin()->first, "none of that name");
    return {};
}

/// "0000:00:02.0/cirrus_vga" → "0000:00:02.0"; ROM BARs and such have no section of their own.
std::set<std::string> pci_addresses(const qemu::DeviceTree& tree) {
    std::set<std::string> found;
    for (const auto& section : tree.sections) {
        const auto slash = section.idstr.find('/');
        if (slash == 12 && section.idstr[4] == ':' && section.idstr[7] == ':' && section.idstr[10] == '.')
            found.insert(section.idstr.substr(0, slash));
    }
    return found;
}

std::set<std::string> pci_addresses(const json& buses) {
    std::set<std::string> found;
    for (const auto& bus : buses)
        for (const auto& device : bus.at("devices"))
            found.insert(fmt::format("0000:{:02x}:{:02x}.{:x}", device.value("bus", 0u),
                                     device.value("slot", 0u), device.value("function", 0u)));
    return found;
}

}  // namespace

Result<void> compare_machine(Loop& loop, QmpClient& qmp, const qemu::Snapshot& twin,
                             const TimeLimits& limits) {
    VMFERRY_ASSIGN(const json blocks, qmp_call(loop, qmp, "human-monitor-command",
                                               {{"command-line", "info ramblock"}}, limits.qmp_answers));
    VMFERRY_TRY(compare_blocks(twin, blocks.is_string() ? blocks.get<std::string>() : std::string()));

    VMFERRY_ASSIGN(const json buses, qmp_call(loop, qmp, "query-pci", nullptr, limits.qmp_answers));
    const auto here = pci_addresses(buses), there = pci_addresses(twin.tree);
    for (const auto& address : there)
        if (!here.contains(address)) return different("no PCI device at " + address, "one");
    for (const auto& address : here)
        if (!there.contains(address)) return different("a PCI device at " + address, "none");

    VMFERRY_ASSIGN(const json cpus, qmp_call(loop, qmp, "query-cpus-fast", nullptr, limits.qmp_answers));
    std::size_t expected = 0;
    for (const auto& section : twin.tree.sections) expected += section.idstr == "cpu" ? 1 : 0;
    if (cpus.size() != expected)
        return different(fmt::format("{} CPUs", cpus.size()), fmt::format("{}", expected));
    return {};
}

}  // namespace vmferry
