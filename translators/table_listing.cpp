#include "translators/table_listing.hpp"

#include <algorithm>

#include "translators/devices.hpp"
#include "translators/qemu/tables.hpp"
#include "translators/qemu/write_machine.hpp"
#include "translators/xen/tables.hpp"

namespace vmferry {
namespace {

void append(std::string& text, std::string_view more) {
    if (more.empty() || text.find(more) != std::string::npos) return;
    if (!text.empty()) text += "; ";
    text += more;
}

class Listing {
  public:
    /// A line that may be joined with the other side's.
    TableListing& carried(const std::string& field) {
        const auto found = std::find_if(joined_.begin(), joined_.end(),
                                        [&](std::size_t at) { return lines_[at].field == field; });
        if (found != joined_.end()) return lines_[*found];
        joined_.push_back(lines_.size());
        return lines_.emplace_back(
            TableListing{.field = field, .xen = {}, .qemu = {}, .conversion = {}, .absent = {}});
    }
    void alone(TableListing line) { lines_.push_back(std::move(line)); }

    template <typename Neutral, typename Record>
    void xen(const RecordTable<Neutral, Record>& table) {
        for (const auto& row : table)
            xen_row(row.field, row.place, row.law, row.reason, row.absent,
                    row.read || row.write || row.law != Law::one_way);
    }
    void xen_row(std::string_view field, std::string_view place, Law law, std::string_view reason,
                 std::string_view absent, bool is_carried) {
        if (!is_carried)
            return alone({std::string(field), std::string(place), {}, law, std::string(reason), {}});
        auto& line = carried(std::string(field));
        append(line.xen, place);
        line.law = std::max(line.law, law);
        append(line.conversion, reason);
        append(line.absent, absent);
    }
    template <typename Neutral>
    void qemu(std::string_view section, const qemu::Table<Neutral>& table) {
        for (const auto& row : table) {
            const auto place = fmt::format("{}: {}", section, row.path);
            const bool of_machine = row.field != "template" && row.field != "device";
            if (!row.read && !row.write && !of_machine) {
                alone({row.field, {}, place, row.law, row.reason, {}});
                continue;
            }
            auto& line = carried(row.field);
            append(line.qemu, place);
            line.law = std::max(line.law, row.law);
            append(line.conversion, row.reason);
            append(line.absent, row.absent);
        }
    }
    std::vector<TableListing> take() { return std::move(lines_); }

  private:
    std::vector<TableListing> lines_;
    std::vector<std::size_t> joined_;
};

void list_xen(Listing& listing) {
    listing.xen(xen::header_table());
    listing.xen(xen::cpu_table());
    for (const auto& row : xen::xsave_table())
        listing.xen_row(row.field, row.place, row.law, row.reason, {}, row.law != Law::one_way);
    for (const auto& row : xen::msr_table())
        listing.xen_row(row.field, fmt::format("CPU_MSR[{:#x}] {}", row.index, row.name),
                        row.member ? Law::exact : Law::one_way, row.reason, row.member ? "0" : "",
                        row.member != nullptr);
    listing.xen(xen::tsc_adjust_table());
    listing.xen(xen::vmce_table());
    listing.xen(xen::viridian_vcpu_table());
    listing.xen(xen::lapic_table());
    listing.xen(xen::lapic_regs_table());
    listing.xen(xen::mtrr_table());
    listing.xen(xen::ioapic_table());
    listing.xen(xen::pic_table());
    listing.xen(xen::pci_irq_table());
    listing.xen(xen::isa_irq_table());
    listing.xen(xen::pci_link_table());
    listing.xen(xen::pit_table());
    listing.xen(xen::rtc_table());
    listing.xen(xen::hpet_table());
    listing.xen(xen::pmtimer_table());
    listing.xen(xen::viridian_domain_table());
    for (const auto& row : xen::param_table())
        listing.alone({"HVM parameter",
                       fmt::format("HVM_PARAMS[{}] {}", row.index, row.name),
                       {},
                       Law::one_way,
                       std::string(row.reason),
                       {}});
    listing.alone({"TSC mode",
                   "X86_TSC_INFO",
                   {},
                   Law::one_way,
                   "how Xen keeps the TSC's rate; the rate itself is HEADER.gtsc_khz",
                   {}});
}

void list_qemu(Listing& listing) {
    listing.qemu("timer", qemu::timer_table());
    listing.qemu("cpu_common", qemu::cpu_common_table());
    listing.qemu("cpu", qemu::cpu_table());
    listing.qemu("apic", qemu::apic_table());
    listing.qemu("ioapic", qemu::ioapic_table());
    listing.qemu("i8259", qemu::pic_table());
    listing.qemu("PIIX3", qemu::piix3_table());
    listing.qemu("PCIBUS", qemu::pci_bus_table());
    listing.qemu("i8254", qemu::pit_table());
    listing.qemu("pcspk", qemu::speaker_table());
    listing.qemu("mc146818rtc", qemu::rtc_table());
    listing.qemu("hpet", qemu::hpet_table());
    listing.qemu("piix4_pm", qemu::piix4_pm_table());
    listing.qemu("I440FX", qemu::host_bridge_table());
}

void list_devices(Listing& listing) {
    for (const auto& rule : section_rules()) {
        const bool crosses = rule.role == SectionRole::device || rule.role == SectionRole::merged;
        listing.alone({"device",
                       fmt::format("device model: {}", rule.name),
                       crosses ? std::string(rule.name) : "",
                       crosses ? Law::exact : Law::one_way,
                       rule.role == SectionRole::device
                           ? "every field as it is; times move with the virtual clock"
                           : std::string(rule.reason),
                       {}});
    }
    for (const auto& section : qemu::template_sections())
        listing.alone(
            {"template", {}, std::string(section.name), Law::one_way, std::string(section.reason), {}});
}

}  // namespace

std::vector<TableListing> list_tables() {
    Listing listing;
    list_xen(listing);
    list_qemu(listing);
    list_devices(listing);
    return listing.take();
}

}  // namespace vmferry
