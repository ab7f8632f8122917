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

/// The rows of both sides, joined by the neutral field's name; what has only one side stands alone.
class Joined {
  public:
    template <typename Neutral, typename Record>
    void xen(const RecordTable<Neutral, Record>& table) {
        for (const auto& row : table) {
            auto& line =
                row.read != nullptr || row.write != nullptr ? line_of(row.field) : lines_.emplace_back();
            line.field = row.field;
            append(line.xen, row.place);
            merge(line, row.law, row.reason, row.absent);
        }
    }
    template <typename Neutral>
    void qemu(std::string_view section, const qemu::Table<Neutral>& table) {
        for (const auto& row : table) {
            auto& line =
                row.read != nullptr || row.write != nullptr ? line_of(row.field) : lines_.emplace_back();
            line.field = row.field;
            append(line.qemu, fmt::format("{}: {}", section, row.path));
            merge(line, row.law, row.reason, row.absent);
        }
    }
    [[nodiscard]] const std::vector<Line>& lines() const { return lines_; }

  private:
    Line& line_of(const std::string& field) {
        const auto found = std::ranges::find_if(
            lines_, [&](const Line& line) { return line.field == field && line.law != Law::one_way; });
        return found == lines_.end() ? lines_.emplace_back() : *found;
    }
    static void merge(Line& line, Law law, const std::string& reason, const std::string& absent) {
        line.law = std::max(line.law, law);
        append(line.conversion, reason);
        append(line.absent, absent);
    }

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
    auto lines = joined.lines();
    for (const auto& msr : xen::msr_table())
        lines.push_back({fmt::format("msr {}", msr.name),
                         fmt::format("CPU_MSR[{:#x}]", msr.index),
                         msr.field != nullptr ? "cpu: by the subsection that holds it" : "",
                         msr.field != nullptr ? Law::exact : Law::one_way,
                         std::string(msr.reason),
                         {}});
    return lines;
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
