#include "proxy/session_to_xen.hpp"

#include <nlohmann/json.hpp>

#include "proxy/input_buffer.hpp"
#include "proxy/prepare_xen.hpp"
#include "proxy/realtime.hpp"
#include "proxy/source_facts.hpp"

namespace vmferry {

using nlohmann::json;
using Completion = SourceQemu::Completion;
using Answer = XlSender::Answer;
using Sync = SessionDirectory::Sync;

namespace {

/// What the machine did before it was stopped for the migration. Nothing: its machine type does not say.
std::optional<bool> ran_before(const qemu::DeviceTree& tree) {
    const auto* section = tree.find("globalstate");
    if (section == nullptr) return std::nullopt;
    const auto state = section->bytes("runstate");
    if (!state) return std::nullopt;
    const auto text = as_text(*state);
    return text.substr(0, text.find('\0')) == "running";
}

}  // namespace

SessionToXen::SessionToXen(Loop& loop, Channel& source, SessionToXenOptions options)
    : loop_(loop), source_(loop, source, options.limits), options_(std::move(options)) {
    source_.set_recorded(options_.recorded);
}

SessionToXen::~SessionToXen() = default;

SessionReport SessionToXen::run() {
    begun_ = Clock::now();
    report_.direction = Direction::to_xen;
    report_.dry_run = options_.dry_run;
    report_.recorded = options_.recorded;
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
    if (!result) report_.error = std::move(result).error();
    // An exception between SHUT and the report: what has been said by then cannot be taken back.
    if (report_.error && report_.state == SessionState::in_doubt &&
        report_.error->kind != ErrorKind::in_doubt)
        report_.error = doubt(*report_.error, look_at_xen()).error();
    if (crossing_) report_.counters = crossing_->counters();
    if (report_.error && report_.error->kind == ErrorKind::environment && directory_)
        note(fmt::format("this happened while {}, with {:.1f} MiB of the source's stream taken",
                         session_state_name(report_.state),
                         static_cast<double>(report_.counters.bytes_in) / (1 << 20)));
    if (directory_) (void)directory_->write_audit(report_.audit);
    if (report_.state < SessionState::in_doubt) abandon();
    xl_.reset();
    source_.close();
    if (directory_ && report_.state != SessionState::in_doubt) report_.directory = directory_->archive();
    directory_.reset();
    report_.total = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun_);
    show_progress();
    return report_;
}

// ---- connecting … loaded: whatever fails here, the source runs on ----

Result<void> SessionToXen::carry() {
    crossing_ = std::make_unique<CrossingToXen>(Crossing::Limits{}, report_.audit);
    VMFERRY_TRY(read_facts());
    if (auto pumped = pump(); !pumped) {
        auto error = std::move(pumped).error();
        // The alarm of xl's end knows no reason yet.
        return std::unexpected(xl_ && loop_.alarm() && loop_.alarm()->text() == error.text()
                                   ? xl_->explain(std::move(error))
                                   : std::move(error));
    }
    stream_ended_ = Clock::now();
    source_.set_whole(ran_before(crossing_->source().tree));
    VMFERRY_TRY(enter(SessionState::paused_at_source));
    VMFERRY_TRY(finish_stream());
    VMFERRY_TRY(xl_->await_ready());
    return enter(SessionState::loaded);
}

Result<void> SessionToXen::read_facts() {
    if (options_.source_qmp.empty()) return {};
    if (options_.recorded) {
        // A dry run never lets Xen's copy run.
        const auto may_run = options_.dry_run ? SourceMayRun::yes : SourceMayRun::no;
        VMFERRY_ASSIGN(facts_, ask_source(loop_, options_.source_qmp, options_.limits, may_run));
    } else {
        VMFERRY_TRY(source_.connect_qmp(options_.source_qmp));
        report_.qemu_pid = source_.pid();
        report_.qmp_socket = options_.source_qmp;
        report_.adopted = true;
        VMFERRY_ASSIGN(facts_, read_source_facts(loop_, *source_.qmp(), options_.limits));
    }
    report_.name = facts_->name;
    report_.uuid = facts_->uuid;
    return {};
}

Result<void> SessionToXen::flush() {
    if (!batch_.empty()) VMFERRY_TRY(xl_->write(batch_.pieces()));
    batch_.clear();
    const auto replies = crossing_->take_replies();
    return replies.empty() ? Result<void>{} : source_.reply(replies);
}

Result<void> SessionToXen::pump() {
    InputBuffer input(options_.read_size);
    while (crossing_->state() != CrossingToXen::State::translated) {
        if (crossing_->state() == CrossingToXen::State::wants_destination) VMFERRY_TRY(prepare());
        VMFERRY_ASSIGN(const auto progress, crossing_->advance(input.unread(), batch_));
        VMFERRY_TRY(flush());
        input.consume(progress.consumed);
        if (Clock::now() - last_progress_ > std::chrono::milliseconds(100)) {
            VMFERRY_TRY(loop_.turn());
            show_progress();
        }
        while (input.unread().size() < progress.need) {
            const auto space = input.space(progress.need);
            VMFERRY_ASSIGN(const auto count,
                           source_.read(space.first(std::min(space.size(), options_.read_size))));
            if (count == 0) return std::unexpected(crossing_->truncated(input.unread()));
            input.arrived(count);
        }
    }
    if (!input.unread().empty())
        return stream_error("qemu", "stream", "end", crossing_->counters().bytes_in,
                            fmt::format("{} bytes behind it", input.unread().size()), "nothing");
    return {};
}

Result<void> SessionToXen::prepare() {
    const auto& stream = crossing_->source();
    const bool return_path = crossing_->return_path();
    source_.set_return_path(return_path);
    VMFERRY_ASSIGN(destination_, options_.choose(facts_, stream));
    report_.command = {destination_.xl};
    report_.audit = AuditReport(destination_.options.allow);
    if (options_.source_qmp.empty() && !options_.recorded)
        report_.audit.violated(
            return_path ? "unconfirmed-source" : "blind-source",
            return_path ? "no QMP socket of the source" : "no QMP socket of the source, and no return path");
    VMFERRY_ASSIGN(auto plan,
                   make_xen_plan(facts_, stream, destination_.xen, destination_.options, report_.audit));
    if (report_.audit.refused()) return std::unexpected(report_.audit.error());
    crossing_->set_limits(destination_.held_pages);
    report_.name = plan.name;
    report_.uuid = plan.uuid;
    guest_bytes_ = plan.ram_bytes;
    VMFERRY_TRY(start_xl(plan));
    VMFERRY_TRY(crossing_->set_destination(std::move(plan), std::move(destination_.xen), batch_));
    VMFERRY_TRY(flush());
    VMFERRY_TRY(source_.approve_switchover());
    return enter(SessionState::copying);
}

Result<void> SessionToXen::start_xl(const XenPlan& plan) {
    VMFERRY_ASSIGN(directory_, SessionDirectory::create(options_.state_directory, plan.name, plan.uuid,
                                                        Direction::to_xen));
    report_.id = directory_->id();
    report_.directory = directory_->path();
    VMFERRY_TRY(directory_->write_file("domain.json", plan.config + "\n"));
    VMFERRY_TRY(directory_->write_file("command", destination_.xl + "\n"));
    VMFERRY_TRY(directory_->note({{"qemu_pid", report_.qemu_pid},
                                  {"qemu_start_time", process_start_time(report_.qemu_pid)},
                                  {"qmp_socket", report_.qmp_socket},
                                  {"adopted", report_.adopted},
                                  {"recorded", options_.recorded},
                                  {"source_does_not_wait", !options_.recorded && !crossing_->return_path()}},
                                 Sync::yes));
    VMFERRY_ASSIGN(xl_,
                   XlSender::start(loop_, destination_.xl, directory_->path() + "/xl.log", options_.limits));
    return xl_->read_banner();
}

Result<void> SessionToXen::finish_stream() {
    while (crossing_->state() != CrossingToXen::State::done) {
        VMFERRY_TRY(crossing_->finish(realtime_ns(), batch_));
        if (crossing_->state() == CrossingToXen::State::done) xl_->last_write();
        VMFERRY_TRY(flush());
        VMFERRY_TRY(loop_.turn());
    }
    return {};
}

void SessionToXen::abandon() {
    const Loop::Shield shield(loop_);
    const bool loaded = report_.state == SessionState::loaded;
    if (loaded && source_.certainly_ended()) {
        // Xen has the only copy. To withdraw would be to lose the guest.
        xl_->leave();
        const Error why = report_.error.value_or(
            Error{ErrorKind::environment, "source", "handing over", {}, 0, "its process has ended", {}});
        report_.state = SessionState::in_doubt;
        report_.error = doubt(why, look_at_source()).error();
        return;
    }
    Result<void> withdrawn;
    // A copy that is loaded may hold the images that both share; before that the pause is what counts.
    if (loaded) withdrawn = xl_->withdraw();
    auto resumed = source_.resume();
    if (!loaded && xl_) withdrawn = xl_->withdraw();
    if (!withdrawn)
        note(
            fmt::format("on the Xen host a copy may be left, paused: if `xl list` shows it, "
                        "`xl destroy {}--incoming` ({})",
                        report_.name, withdrawn.error().text()));
    if (resumed) {
        note(std::move(*resumed));
    } else if (source_.certainly_ended() || !directory_) {
        note(resumed.error().text());
    } else {
        const auto& why = resumed.error();
        Error error = report_.error.value_or(why);
        if (report_.error) error.found += "; and the source: " + why.text();
        report_.state = SessionState::in_doubt;
        report_.error =
            doubt(error, fmt::format("Xen has not got the guest, the source stands still: {}; then "
                                     "`vmferry resolve {} run`",
                                     why.hint, report_.id))
                .error();
        return;
    }
    if (directory_)
        (void)directory_->note({{"note", report_.error ? report_.error->text() : "dry run: given back"}},
                               Sync::no);
}

// ---- SHUT and after: what fails here is decided one by one ----

Result<void> SessionToXen::hand_over() {
    // The last moment at which a request to end costs nothing.
    VMFERRY_TRY(loop_.turn());
    VMFERRY_TRY(directory_->note({{"state", session_state_name(SessionState::in_doubt)},
                                  {"note", "the source is about to be told that all is loaded"}},
                                 Sync::yes));
    report_.state = SessionState::in_doubt;
    show_progress();
    const Loop::Shield shield(loop_);
    auto read = source_.complete();
    switch (read.completion) {
        case Completion::has_guest:
            report_.state = SessionState::loaded;
            return std::unexpected(std::move(read.why));
        case Completion::unknown:
            xl_->leave();
            return doubt(read.why, look_at_source());
        case Completion::ended:
            note("the source's QEMU has ended after its last byte; Xen has the guest");
            break;
        case Completion::confirmed:
        case Completion::assumed:
            break;
    }
    return permit();
}

Result<void> SessionToXen::permit() {
    if (auto noted = directory_->note(
            {{"permission", true}, {"note", "the source stands still; xl is about to get its permission"}},
            Sync::yes);
        !noted) {
        report_.state = SessionState::loaded;
        return noted;
    }
    bool delivered = false;
    if (auto sent = xl_->permit(delivered); !sent && !delivered) {
        (void)directory_->note({{"permission", false}, {"note", "xl has not got the permission"}}, Sync::yes);
        report_.state = SessionState::loaded;
        return std::unexpected(xl_->explain(std::move(sent).error()));
    }
    auto read = xl_->read_answer();
    switch (read.answer) {
        case Answer::runs:
            return reported();
        case Answer::given_back:
            (void)directory_->note({{"permission", false}, {"note", "xl has given the guest back"}},
                                   Sync::yes);
            report_.state = SessionState::loaded;
            return std::unexpected(std::move(read.why));
        case Answer::kept:
            xl_->finish();
            return doubt(read.why,
                         fmt::format("xl says that it does not run there: `xl destroy {}--incoming` on the "
                                     "Xen host, if `xl list` still shows it, then `vmferry resolve {} run`",
                                     report_.name, report_.id));
        case Answer::unknown:
            xl_->leave();
            return doubt(read.why, look_at_xen());
    }
    return {};
}

Result<void> SessionToXen::reported() {
    report_.handover = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - stream_ended_);
    if (const auto entered = enter(SessionState::running); !entered) note(entered.error().text());
    xl_->finish();
    if (!source_.was_running()) note("the guest was paused at the source; xl has let it run");
    if (!options_.recorded) note("the source's QEMU stays, stopped (postmigrate): end it with quit");
    if (const auto entered = enter(SessionState::reported); !entered) note(entered.error().text());
    return {};
}

std::string SessionToXen::look_at_source() const {
    return fmt::format(
        "xl has not got the permission and its copy is left, paused, as {0}--incoming; look at the source: "
        "it runs, or stands still -> `xl destroy {0}--incoming` on the Xen host, then `vmferry resolve {1} "
        "run`; its QEMU has ended -> `xl rename {0}--incoming {0}` and `xl unpause {0}` on the Xen host, "
        "then `vmferry resolve {1} destroy`",
        report_.name, report_.id);
}

std::string SessionToXen::look_at_xen() const {
    return fmt::format(
        "{2}look at the Xen host (xl list): {0} runs there -> `vmferry resolve {1} "
        "destroy`; it is not there, or only as {0}--incoming, paused -> `xl destroy {0}--incoming`, then "
        "`vmferry resolve {1} run`{3}",
        report_.name, report_.id, options_.recorded ? "" : "the source stands still; ",
        options_.recorded ? ", which only closes the session: the recording can be replayed again" : "");
}

std::unexpected<Error> SessionToXen::doubt(const Error& why, std::string hint) {
    const Loop::Shield shield(loop_);
    Error error{ErrorKind::in_doubt, "session " + report_.id, "handing over", {}, 0, why.text(), {}};
    error.hint = std::move(hint);
    // The state too: a session that could be taken back, but whose source then does not run, comes late here.
    (void)directory_->note({{"state", session_state_name(SessionState::in_doubt)},
                            {"note", why.text() + " (" + error.hint + ")"}},
                           Sync::yes);
    return std::unexpected(std::move(error));
}

Result<void> SessionToXen::enter(SessionState state) {
    report_.state = state;
    auto noted = directory_->note({{"state", session_state_name(state)}, {"note", ""}},
                                  state >= SessionState::in_doubt ? Sync::yes : Sync::no);
    show_progress();
    return noted;
}

void SessionToXen::show_progress() {
    last_progress_ = Clock::now();
    if (!options_.progress) return;
    options_.progress({report_.state, crossing_ ? crossing_->counters() : CrossingCounters{}, guest_bytes_});
}

}  // namespace vmferry
