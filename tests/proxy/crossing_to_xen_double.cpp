// Stand-in for the translation and the page path, for the tests of what happens around them: the stream is
// read by the real reader; what is written is a stream of the right form with nothing of the guest in it.
#include <stdexcept>

#include "parsers/qemu/stream_reader.hpp"
#include "parsers/xen/stream_writer.hpp"
#include "proxy/crossing_to_xen.hpp"
#include "translators/xen_plan.hpp"

namespace vmferry {

class CrossingToXen::Impl {
  public:
    explicit Impl(AuditReport& report) : audit(report) {}
    AuditReport& audit;
    State state = State::header;
    QemuSource source;
    CrossingCounters counters;
    qemu::StreamReader reader;
    Buffer replies;
    bool return_path = false;
};

CrossingToXen::CrossingToXen(const Crossing::Limits&, AuditReport& audit)
    : impl_(std::make_unique<Impl>(audit)) {}
CrossingToXen::~CrossingToXen() = default;
CrossingToXen::State CrossingToXen::state() const {
    return impl_->state;
}
const QemuSource& CrossingToXen::source() const {
    return impl_->source;
}
const CrossingCounters& CrossingToXen::counters() const {
    return impl_->counters;
}
bool CrossingToXen::return_path() const {
    return impl_->return_path;
}
Buffer CrossingToXen::take_replies() {
    return std::exchange(impl_->replies, {});
}
void CrossingToXen::set_limits(const Crossing::Limits&) {}
Error CrossingToXen::truncated(Bytes rest) const {
    return impl_->reader.truncated(rest);
}

Result<CrossingToXen::Progress> CrossingToXen::advance(Bytes in, OutputBatch& out) {
    auto& self = *impl_;
    Progress progress;
    while ((self.state == State::header || self.state == State::pages) && !out.full()) {
        VMFERRY_ASSIGN(auto step, self.reader.next(in.subspan(progress.consumed)));
        if (!step.event) {
            progress.need = step.need;
            break;
        }
        progress.consumed += step.consumed;
        self.counters.bytes_in += step.consumed;
        if (auto* head = std::get_if<qemu::Configuration>(&*step.event)) {
            self.source.machine = head->machine;
        } else if (auto* command = std::get_if<qemu::CommandItem>(&*step.event)) {
            if (command->command == qemu::Command::open_return_path) self.return_path = true;
            if (command->command != qemu::Command::ping) continue;
            append_be<std::uint16_t>(self.replies, 2);
            append_be<std::uint16_t>(self.replies, 4);
            append(self.replies, command->payload);
        } else if (auto* start = std::get_if<qemu::RamStart>(&*step.event)) {
            self.source.blocks = std::move(start->blocks);
            self.state = State::wants_destination;
        } else if (auto* page = std::get_if<qemu::RamPage>(&*step.event)) {
            ++self.counters.pages;
            if (page->data.empty()) continue;
            Buffer record;
            const std::array entry{xen::PageEntry{.gfn = self.counters.pages}};
            xen::write_page_batch(record, entry);
            out.copy(record);
            out.lend(page->data);
        } else if (auto* devices = std::get_if<qemu::DeviceState>(&*step.event)) {
            self.source.tree = std::move(devices->tree);
            self.state = State::translated;
        }
    }
    return progress;
}

Result<void> CrossingToXen::set_destination(XenPlan plan, XenTemplate, OutputBatch& out) {
    Buffer head;
    xen::XlHeader header;
    header.config = plan.config;
    write(head, header);
    write(head, xen::LibxlHeader{});
    write(head, xen::LibxcContext{});
    write(head, xen::ImageHeader{});
    write(head, xen::DomainHeader{.xen_major = 4, .xen_minor = 17});
    write(head, xen::StaticDataEnd{});
    out.copy(head);
    impl_->state = State::pages;
    return {};
}

Result<void> CrossingToXen::finish(std::uint64_t, OutputBatch& out) {
    const Buffer context(16), blob(16);
    Buffer end;
    write(end, xen::HvmContextRecord{context});
    write(end, xen::LibxcEnd{});
    write(end, xen::EmulatorContext{.blob = blob});
    write(end, xen::LibxlEnd{});
    out.copy(end);
    impl_->state = State::done;
    return {};
}

Result<XenPlan> make_xen_plan(const std::optional<SourceFacts>& facts, const QemuSource& source,
                              const XenTemplate&, const XenDestinationOptions& options, AuditReport&) {
    XenPlan plan;
    plan.name = options.name.empty() && facts ? facts->name : options.name;
    plan.uuid = facts ? facts->uuid : "";
    plan.config = "{ }";
    for (const auto& block : source.blocks) plan.ram_bytes += block.used_length;
    return plan;
}

}  // namespace vmferry
