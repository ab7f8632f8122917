#include "proxy/session.hpp"

#include <nlohmann/json.hpp>

#include "proxy/input_buffer.hpp"
#include "proxy/qemu_facts.hpp"
#include "proxy/realtime.hpp"
#include "translators/shell_quote.hpp"

namespace vmferry {

using nlohmann::json;
using Sync = SessionDirectory::Sync;

namespace {

constexpr std::uint8_t report_failed = 0xFF;

std::string plan_text(const Plan& plan) {
    const json text = {{"accel", plan.accel == Accel::kvm ? "kvm" : "tcg"},
                       {"machine", plan.machine},
                       {"cpu", plan.cpu},
                       {"vcpus", plan.vcpus},
                       {"ram_bytes", plan.ram_bytes},
                       {"low_ram_end", plan.low_ram_end},
                       {"vga", plan.vga},
                       {"arguments", plan.arguments},
                       {"twin_arguments", plan.twin_arguments}};
    return text.dump(1, ' ', true, json::error_handler_t::replace) + "\n";
}

}  // namespace

Session::Session(Loop& loop, XlEndpoint& source, SessionOptions options)
    : loop_(loop), source_(source), options_(std::move(options)) {}

Session::~Session() = default;

SessionReport Session::run() {
    begun_ = Clock::now();
    report_.dry_run = options_.dry_run;
    auto result = [this]() -> Result<void> {
        try {
            VMFERRY_TRY(carry());
            if (options_.dry_run) return {};
            return hand_over();
        } catch (const std::exception& unexpected) {
            // JSON from a QEMU that does not keep to its schema, or no memory.
            return environment_error("vmferry", session_state_name(report_.state), unexpected.what());
        }
    }();
    if (!result) {
        report_.error = std::move(result).error();
        if (ready_left_us_ && report_.state == SessionState::in_doubt &&
            report_.error->kind != ErrorKind::in_doubt)
            report_.error = doubt(*report_.error).error();
    }
    if (crossing_) report_.counters = crossing_->counters();
    if (report_.error && report_.error->kind == ErrorKind::environment && directory_)
        report_.notes.push_back(fmt::format(
            "this happened while {}, with {:.1f} MiB of the source's stream taken",
            session_state_name(report_.state), static_cast<double>(report_.counters.bytes_in) / (1 << 20)));
    if (directory_) (void)directory_->write_audit(report_.audit);
    if (report_.state < SessionState::in_doubt) abandon();
    if (qemu_) qemu_->let_go();  // its QMP socket serves one client at a time
    source_.close();
    report_.total = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun_);
    show_progress();
    return report_;
}

// ---- connecting … loaded: whatever fails here, the source resumes ----

Result<void> Session::carry() {
    crossing_ = std::make_unique<Crossing>(Crossing::Limits{}, report_.audit);
    VMFERRY_TRY(source_.send_banner());
    VMFERRY_TRY(pump());
    stream_ended_ = Clock::now();
    VMFERRY_TRY(enter(SessionState::paused_at_source));
    VMFERRY_TRY(finish_stream());
    VMFERRY_TRY(qemu_->await_loaded());
    VMFERRY_TRY(qemu_->check_images());
    VMFERRY_TRY(source_.check_waiting());
    return enter(SessionState::loaded);
}

Result<void> Session::pump() {
    InputBuffer input(options_.read_size);
    while (crossing_->state() != Crossing::State::translated) {
        if (crossing_->state() == Crossing::State::wants_destination) VMFERRY_TRY(prepare());
        VMFERRY_ASSIGN(const auto progress, crossing_->advance(input.unread(), batch_));
        if (!batch_.empty()) VMFERRY_TRY(qemu_->write(batch_.pieces()));
        batch_.clear();
        input.consume(progress.consumed);
        if (Clock::now() - last_progress_ > std::chrono::milliseconds(100)) {
            VMFERRY_TRY(loop_.turn());
            show_progress();
        }
        while (input.unread().size() < progress.need) {
            const auto space = input.space(progress.need);
            VMFERRY_ASSIGN(const auto count,
                           source_.read(space.first(std::min(space.size(), options_.read_size))));
            if (count == 0) return std::unexpected(crossing_->truncated(input.unread().size()));
            input.arrived(count);
        }
    }
    if (!input.unread().empty())
        return stream_error("xl", "stream", "end", crossing_->counters().bytes_in,
                            fmt::format("{} bytes behind it", input.unread().size()), "silence until ready");
    return {};
}

Result<void> Session::prepare() {
    const auto& config = crossing_->source().config;
    report_.name = config.name;
    report_.uuid = config.uuid;
    VMFERRY_ASSIGN(destination_, options_.choose(config));
    if (!destination_.name.empty()) report_.name = destination_.name;
    options_.limits = time_limits(destination_, options_.limits);
    source_.set_limits(options_.limits);
    report_.audit = AuditReport(destination_.allow);
    crossing_->set_limits({destination_.spill_bytes, destination_.spill_directory});

    VMFERRY_ASSIGN(directory_,
                   SessionDirectory::create(options_.state_directory, report_.name, report_.uuid));
    report_.id = directory_->id();
    report_.directory = directory_->path();
    VMFERRY_ASSIGN(auto prepared, prepare_destination(loop_, crossing_->source(), destination_,
                                                      options_.cache_directory, report_.audit));
    VMFERRY_TRY(start_qemu(prepared));
    VMFERRY_TRY(crossing_->set_destination(prepared.plan, std::move(prepared.twin), batch_));
    VMFERRY_TRY(qemu_->write(batch_.pieces()));
    batch_.clear();
    return enter(SessionState::copying);
}

Result<void> Session::start_qemu(const Prepared& prepared) {
    const auto& plan = prepared.plan;
    guest_bytes_ = plan.ram_bytes;
    for (const auto& disk : plan.disks)
        if (!disk.image.empty() && !disk.readonly) VMFERRY_TRY(check_image_unlocked(disk.image));
    report_.command = DestinationQemu::command(plan, directory_->path());
    VMFERRY_TRY(directory_->write_file("plan.json", plan_text(plan)));
    if (destination_.qmp.empty()) {
        VMFERRY_TRY(directory_->write_file("command", shell_quote(report_.command) + "\n"));
        VMFERRY_ASSIGN(qemu_, DestinationQemu::spawn(loop_, plan, directory_->path(), options_.limits));
    } else {
        VMFERRY_ASSIGN(qemu_, DestinationQemu::adopt(loop_, destination_.qmp, options_.limits));
        VMFERRY_TRY(qemu_->compare(prepared.twin));
    }
    if (!prepared.cpu_checked) {
        VMFERRY_ASSIGN(auto facts, qemu_->cpu_facts());
        VMFERRY_TRY(audit_cpu(crossing_->source(), plan.accel, std::move(facts), report_.audit));
    }
    report_.qemu_pid = qemu_->pid();
    report_.qmp_socket = qemu_->qmp_socket();
    report_.adopted = qemu_->adopted();
    VMFERRY_TRY(directory_->note({{"qemu_pid", report_.qemu_pid},
                                  {"qemu_start_time", process_start_time(report_.qemu_pid)},
                                  {"qmp_socket", report_.qmp_socket},
                                  {"adopted", report_.adopted}},
                                 Sync::no));
    return qemu_->open();
}

Result<void> Session::finish_stream() {
    while (crossing_->state() != Crossing::State::done) {
        VMFERRY_TRY(crossing_->finish(realtime_ns(), batch_));
        VMFERRY_TRY(qemu_->write(batch_.pieces()));
        batch_.clear();
        VMFERRY_TRY(loop_.turn());
    }
    return {};
}

void Session::abandon() {
    const Loop::Shield shield(loop_);
    if (qemu_) {
        if (qemu_->adopted()) {
            if (report_.state == SessionState::loaded)
                report_.notes.push_back(
                    "the adopted QEMU holds a copy of the guest, paused; it must not run");
        } else if (const auto gone = qemu_->destroy(); !gone) {
            report_.notes.push_back(gone.error().text());
        }
        qemu_.reset();
    }
    source_.close();
    if (!directory_) return;
    (void)directory_->note({{"note", report_.error ? report_.error->text() : "dry run: given back"}},
                           Sync::no);
    report_.directory = directory_->archive();
    directory_.reset();
}

// ---- ready and after: what fails here is decided one by one ----

Result<void> Session::hand_over() {
    // The last moment at which a request to end, or the end of QEMU, costs nothing.
    VMFERRY_TRY(loop_.turn());
    VMFERRY_TRY(directory_->note(
        {{"state", session_state_name(SessionState::in_doubt)}, {"note", "ready is about to be sent"}},
        Sync::yes));
    VMFERRY_TRY(qemu_->release());
    bool delivered = false;
    auto sent = source_.send_ready(delivered);
    if (!sent && !delivered) return sent;
    ready_left_us_ = true;
    report_.state = SessionState::in_doubt;
    if (!sent) return doubt(sent.error());
    show_progress();
    auto answer = source_.read_permission();
    switch (answer.permission) {
        case XlEndpoint::Permission::missing:
            return doubt(answer.why);
        case XlEndpoint::Permission::wrong:
            return give_back(std::move(answer.why));
        case XlEndpoint::Permission::whole:
            return run_guest();
    }
    return {};
}

Result<void> Session::run_guest() {
    // The source has let go. Nobody else can run the guest now, so neither a request to end nor a full disk
    // is a reason to leave it paused.
    const Loop::Shield shield(loop_);
    if (const auto noted =
            directory_->note({{"permission", true}, {"note", "the source has let go"}}, Sync::yes);
        !noted)
        report_.notes.push_back(noted.error().text());
    if (options_.leave_paused) {
        report_.paused = true;
    } else if (auto runs = qemu_->run(); !runs) {
        if (runs.error().ran == DestinationQemu::Ran::no) return give_back(std::move(runs.error().error));
        (void)source_.send_report(report_failed);  // and no M8: the source must not run either
        return doubt(runs.error().error);
    }
    report_.handover = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - stream_ended_);
    if (const auto entered = enter(SessionState::running); !entered)
        report_.notes.push_back(entered.error().text());
    if (!report_.paused) qemu_->announce();
    auto told = source_.send_report(0);
    if (!told) {
        auto error = std::move(told).error();
        error.hint = "the guest runs here; the source keeps a paused copy named " + report_.name +
                     "--migratedaway, to be destroyed there";
        (void)directory_->note({{"note", error.text()}}, Sync::yes);
        return std::unexpected(std::move(error));
    }
    if (const auto entered = enter(SessionState::reported); !entered)
        report_.notes.push_back(entered.error().text());
    return {};
}

Result<void> Session::give_back(Error why) {
    const Loop::Shield shield(loop_);
    if (auto told = source_.send_report(report_failed); !told) {
        why.found += "; and the source could not be told: " + told.error().found;
        return doubt(why);
    }
    if (auto gone = qemu_->destroy(); !gone) {
        why.found += "; our copy cannot be destroyed: " + gone.error().text();
        return doubt(why);
    }
    if (auto told = source_.send_give_back(); !told)
        report_.notes.push_back("the source holds the only copy, paused: it was not reached to resume it (" +
                                told.error().found + ")");
    report_.state = SessionState::loaded;
    return std::unexpected(std::move(why));
}

std::unexpected<Error> Session::doubt(const Error& why) {
    const Loop::Shield shield(loop_);
    Error error{ErrorKind::in_doubt, "session " + report_.id, "handing over", {}, 0, why.text(), {}};
    error.hint = "the guest is paused here; look at the source, then: vmferry resolve " + report_.id +
                 " run (the source has let it go) or destroy (the source runs it)";
    (void)directory_->note({{"note", why.text()}}, Sync::yes);
    return std::unexpected(std::move(error));
}

void Session::ended() {
    qemu_.reset();
    if (!directory_) return;
    report_.directory = directory_->archive();
    directory_.reset();
}

Result<void> Session::enter(SessionState state) {
    report_.state = state;
    auto noted =
        directory_->note({{"state", session_state_name(state)}, {"paused", report_.paused}, {"note", ""}},
                         state >= SessionState::in_doubt ? Sync::yes : Sync::no);
    show_progress();
    return noted;
}

void Session::show_progress() {
    last_progress_ = Clock::now();
    if (!options_.progress) return;
    options_.progress({report_.state, crossing_ ? crossing_->counters() : CrossingCounters{}, guest_bytes_});
}

}  // namespace vmferry
