// `vmferry table`: every row of the translation, as the tables themselves hold it.
//
//     FIELD of the neutral machine · place in Xen's records · place in QEMU's sections · law · conversion
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/vmferry/command.hpp"
#include "tools/vmferry/report.hpp"
#include "translators/qemu/tables.hpp"
#include "translators/xen/tables.hpp"

namespace vmferry::cli {

using Json = nlohmann::ordered_json;

namespace {

struct Line {
    std::string field, xen, qemu;
    Law law = Law::exact;
    std::string conversion, absent;
};

void append(std::string& text, std::string_view more) {
    if (more.empty() || text.find(more) != std::string::npos) return;
    if (!text.empty()) text += "; ";
    text += more;
}

/// The rows of both sides, joined by the neutral field's name; what is not carried stands alone.
class Joined {
  public:
    template <typename Neutral, typename Record>
    void xen(const RecordTable<Neutral, Record>& table) {
        for (const auto& row : table) add(row.field, row.place, {}, row.law, row.reason, row.absent);
    }
    template <typename Neutral>
    void qemu(std::string_view section, const qemu::Table<Neutral>& table) {
        for (const auto& row : table)
            add(row.field, {}, fmt::format("{}: {}", section, row.path), row.law, row.reason, row.absent);
    }
    void add(std::string_view field, std::string_view xen, std::string_view qemu, Law law,
             std::string_view reason, std::string_view absent = {}) {
        auto found =
            law == Law::one_way ? lines_.end() : std::ranges::find_if(lines_, [field](const Line& line) {
                return line.field == field && line.law != Law::one_way;
            });
        if (found == lines_.end()) found = lines_.insert(found, {std::string(field), {}, {}, law, {}, {}});
        append(found->xen, xen);
        append(found->qemu, qemu);
        append(found->conversion, reason);
        append(found->absent, absent);
        found->law = std::max(found->law, law);
    }
    [[nodiscard]] std::vector<Line> take() { return std::move(lines_); }

  private:
    std::vector<Line> lines_;
};

std::vector<Line> all_lines() {
    Joined joined;
    joined.xen(xen::header_table());
    joined.xen(xen::cpu_table());
    joined.xen(xen::mtrr_table());
    joined.xen(xen::tsc_adjust_table());
    joined.xen(xen::vmce_table());
    joined.xen(xen::lapic_table());
    joined.xen(xen::lapic_regs_table());
    joined.xen(xen::ioapic_table());
    joined.xen(xen::pic_table());
    joined.xen(xen::pci_irq_table());
    joined.xen(xen::isa_irq_table());
    joined.xen(xen::pci_link_table());
    joined.xen(xen::pit_table());
    joined.xen(xen::rtc_table());
    joined.xen(xen::hpet_table());
    joined.xen(xen::pmtimer_table());
    joined.xen(xen::viridian_domain_table());
    joined.xen(xen::viridian_vcpu_table());
    joined.qemu("timer", qemu::timer_table());
    joined.qemu("cpu", qemu::cpu_table());
    joined.qemu("cpu_common", qemu::cpu_common_table());
    joined.qemu("apic", qemu::apic_table());
    joined.qemu("ioapic", qemu::ioapic_table());
    joined.qemu("i8259", qemu::pic_table());
    joined.qemu("PIIX3", qemu::piix3_table());
    joined.qemu("PCIBUS", qemu::pci_bus_table());
    joined.qemu("i8254", qemu::pit_table());
    joined.qemu("pcspk", qemu::speaker_table());
    joined.qemu("mc146818rtc", qemu::rtc_table());
    joined.qemu("hpet", qemu::hpet_table());
    joined.qemu("piix4_pm", qemu::piix4_pm_table());
    joined.qemu("I440FX", qemu::host_bridge_table());
    for (const auto& row : xen::xsave_table()) joined.add(row.field, row.place, {}, row.law, row.reason);
    for (const auto& msr : xen::msr_table())
        joined.add(msr.member != nullptr ? msr.field : msr.name,
                   fmt::format("CPU_MSR[{:#x}] {}", msr.index, msr.name), {},
                   msr.member != nullptr ? Law::exact : Law::one_way, msr.reason);
    for (const auto& param : xen::param_table())
        joined.add(param.name, fmt::format("HVM_PARAMS[{}]", param.index), {}, Law::one_way, param.reason);
    return joined.take();
}

ExitCode run(bool json) {
    const auto lines = all_lines();
    if (json) {
        auto all = document("table");
        all["rows"] = Json::array();
        for (const auto& line : lines)
            all["rows"].push_back({{"field", line.field},
                                   {"xen", line.xen},
                                   {"qemu", line.qemu},
                                   {"law", law_name(line.law)},
                                   {"conversion", line.conversion},
                                   {"absent", line.absent}});
        print_json(all, true);
        return ExitCode::done;
    }
    fmt::print("{:<34} {:<34} {:<40} {:<11} {}\n", "FIELD", "XEN", "QEMU", "LAW", "CONVERSION");
    for (const auto& line : lines) {
        std::string text = line.conversion;
        if (!line.absent.empty()) append(text, "when absent: " + line.absent);
        fmt::print("{:<34} {:<34} {:<40} {:<11} {}\n", line.field, line.xen.empty() ? "-" : line.xen,
                   line.qemu.empty() ? "-" : line.qemu, law_name(line.law), text);
    }
    return ExitCode::done;
}

}  // namespace

void add_table(CLI::App& app, Invocation& invocation) {
    auto* command = app.add_subcommand("table", "Print every row of the translation between Xen and QEMU");
    auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "print JSON");
    command->callback([json, &invocation] { invocation.action = [json] { return run(*json); }; });
}

}  // namespace vmferry::cli
