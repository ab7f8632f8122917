#include "tools/libxl-receive/watch.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/descriptor.hpp"
#include "tools/libxl-receive/host_memory.hpp"
#include "tools/libxl-receive/stop_pipe.hpp"

namespace vmferry::libxl_receive {
namespace {

constexpr const char* dumps = "/var/lib/xen/dump";
/// What the old domain had (tap devices, locks on images) is not always free the moment it is gone.
constexpr std::chrono::seconds before_restart{2};
constexpr std::chrono::seconds between_looks{1};

template <typename... Arguments>
void say(fmt::format_string<Arguments...> text, Arguments&&... arguments) {
    fmt::print(stderr, "vmferry-libxl-receive: {}\n",
               fmt::format(text, std::forward<Arguments>(arguments)...));
}

class Watch {
  public:
    Watch(libxl_ctx* context, std::uint32_t id, DomainConfig& config)
        : context_(context), id_(id), config_(config) {}

    int arm() { return libxl_evenable_domain_death(context_, id_, 0, &death_); }

    void run() {
        for (;;) {
            libxl_event* event = nullptr;
            if (const int rc = libxl_event_wait(context_, &event, LIBXL_EVENTMASK_ALL, nullptr, nullptr);
                rc != 0)
                return say("{}", code_error("waiting for events", rc).text());
            const auto type = event->type;
            const auto reason =
                type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN ? event->u.domain_shutdown.shutdown_reason : 0;
            libxl_event_free(context_, event);
            if (type == LIBXL_EVENT_TYPE_DOMAIN_DEATH) return say("domain {} is gone", id_);
            if (type == LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN && !shut_down(reason)) return;
        }
    }

  private:
    /// Whether there is still something to watch.
    bool shut_down(int reason) {
        if (reason == LIBXL_SHUTDOWN_REASON_SUSPEND) return resumed();
        refresh();
        auto action = action_on(reason);
        say("domain {} has shut down (reason {}): {}", id_, reason,
            libxl_action_on_shutdown_to_string(action));
        if (action == LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_DESTROY ||
            action == LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_RESTART) {
            const auto file = fmt::format("{}/{}", dumps, config_.name());
            if (const int rc = libxl_domain_core_dump(context_, id_, file.c_str(), nullptr); rc != 0)
                say("{}", code_error("dumping core to " + file, rc).text());
            action = action == LIBXL_ACTION_ON_SHUTDOWN_COREDUMP_DESTROY ? LIBXL_ACTION_ON_SHUTDOWN_DESTROY
                                                                         : LIBXL_ACTION_ON_SHUTDOWN_RESTART;
        }
        if (action == LIBXL_ACTION_ON_SHUTDOWN_PRESERVE) return false;
        disarm();
        if (action == LIBXL_ACTION_ON_SHUTDOWN_RESTART_RENAME) {
            if (!set_aside()) return false;
        } else if (const int rc = libxl_domain_destroy(context_, id_, nullptr); rc != 0) {
            say("{}", code_error("destroying it", rc).text());
            return false;
        }
        return action != LIBXL_ACTION_ON_SHUTDOWN_DESTROY && restart();
    }

    libxl_action_on_shutdown action_on(int reason) {
        switch (reason) {
            case LIBXL_SHUTDOWN_REASON_POWEROFF:
                return config_->on_poweroff;
            case LIBXL_SHUTDOWN_REASON_REBOOT:
                return config_->on_reboot;
            case LIBXL_SHUTDOWN_REASON_CRASH:
                return config_->on_crash;
            case LIBXL_SHUTDOWN_REASON_WATCHDOG:
                return config_->on_watchdog;
            case LIBXL_SHUTDOWN_REASON_SOFT_RESET:
                return LIBXL_ACTION_ON_SHUTDOWN_RESTART;
            default:
                return LIBXL_ACTION_ON_SHUTDOWN_DESTROY;
        }
    }

    /// The configuration as it is now: devices may have come and gone.
    void refresh() {
        DomainConfig now;
        if (const int rc = libxl_retrieve_domain_configuration(context_, id_, now.get(), nullptr); rc != 0)
            return say("{}; the one that it came with stands in",
                       code_error("reading its configuration", rc).text());
        config_.swap(now);
    }

    /// Suspended: who saves or migrates it destroys it, or resumes it when that has failed. libxl tells an
    /// end only once, so the watch begins anew when the domain is found running.
    bool resumed() {
        say("domain {} is suspended", id_);
        disarm();
        for (;;) {
            std::this_thread::sleep_for(between_looks);
            libxl_dominfo info;
            libxl_dominfo_init(&info);
            const int rc = libxl_domain_info(context_, &info, id_);
            const bool still = rc == 0 && info.shutdown && !info.dying;
            const bool gone = rc != 0 || info.dying;
            libxl_dominfo_dispose(&info);
            if (gone) {
                say("domain {} is gone", id_);
                return false;
            }
            if (still) continue;
            say("domain {} goes on", id_);
            return arm() == 0;
        }
    }

    bool set_aside() {
        std::array<char, sizeof "-20260101T0000Z"> suffix{};
        const auto now = std::time(nullptr);
        tm parts{};
        gmtime_r(&now, &parts);
        (void)std::strftime(suffix.data(), suffix.size(), "-%Y%m%dT%H%MZ", &parts);
        libxl_uuid uuid;
        libxl_uuid_generate(&uuid);
        const int rc = libxl_domain_preserve(context_, id_, &config_->c_info, suffix.data(), uuid);
        if (rc != 0) say("{}", code_error("setting it aside", rc).text());
        return rc == 0;
    }

    bool restart() {
        std::this_thread::sleep_for(before_restart);
        id_ = INVALID_DOMID;
        {
            const auto room = make_room(context_, config_);
            if (!room) {
                say("{}", room.error().text());
                return false;
            }
            if (const int rc = libxl_domain_create_new(context_, config_.get(), &id_, nullptr, nullptr);
                rc != 0) {
                say("{}", code_error("creating it anew", rc).text());
                if (libxl_domid_valid_guest(id_)) (void)libxl_domain_destroy(context_, id_, nullptr);
                return false;
            }
        }
        if (const int rc = libxl_domain_unpause(context_, id_, nullptr); rc != 0)
            say("{}", code_error("letting it run", rc).text());
        say("it is domain {} now", id_);
        return arm() == 0;
    }

    void disarm() {
        if (death_ != nullptr) libxl_evdisable_domain_death(context_, death_);
        death_ = nullptr;
        // What was under way belongs to the domain as it was.
        libxl_event* event = nullptr;
        while (libxl_event_check(context_, &event, LIBXL_EVENTMASK_ALL, nullptr, nullptr) == 0)
            libxl_event_free(context_, event);
    }

    libxl_ctx* context_;
    std::uint32_t id_;
    DomainConfig& config_;
    libxl_evgen_domain_death* death_ = nullptr;
};

/// stdout and stderr of this process go to a file that Xen's other logs are beside.
bool to_log(libxl_ctx* context, const std::string& name) {
    char* path = nullptr;
    if (libxl_create_logfile(context, ("vmferry-libxl-" + name).c_str(), &path) != 0) return false;
    const Descriptor log(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    std::free(path);
    return log.valid() && dup2(log.get(), STDOUT_FILENO) >= 0 && dup2(log.get(), STDERR_FILENO) >= 0;
}

/// The life of the process that watches. A byte into `watching` when it does.
[[noreturn]] void live(libxl_ctx* parents, std::uint32_t id, DomainConfig& config, const std::string& name,
                       int watching) {
    StopPipe::back_to_default();
    libxl_postfork_child_noexec(parents);
    // The source waits for the end of our descriptors; libxl's old ones are no use here.
    if (dup2(watching, 3) < 0) _exit(1);
    watching = 3;
    close_range(4, ~0U, 0);
    (void)fcntl(watching, F_SETFD, FD_CLOEXEC);
    (void)!chdir("/");
    {
        const auto context = Context::create(XTL_WARN, XTL_STDIOSTREAM_SHOW_DATE);
        if (!context || !to_log(*context, name)) _exit(1);
        Watch watch(*context, id, config);
        if (watch.arm() != 0) _exit(1);
        const char byte = 1;
        if (::write(watching, &byte, 1) != 1) _exit(1);
        close(watching);
        // If it cannot be read again, a restart is to have the name that the guest has then.
        config.set_name(name);
        say("watches domain {}, {}", id, name);
        watch.run();
    }
    _exit(0);
}

}  // namespace

Result<void> start_watch(libxl_ctx* context, std::uint32_t id, DomainConfig& config,
                         const std::string& name) {
    const std::string doing = "starting the watch over the domain";
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0)
        return environment_error("vmferry-libxl-receive", doing, errno_text(errno));
    const Descriptor watching(ends[0]);
    Descriptor told(ends[1]);
    const pid_t child = fork();
    if (child < 0) return environment_error("vmferry-libxl-receive", doing, errno_text(errno));
    if (child == 0) {
        setsid();
        // A child of init: libxl wonders about children that it does not know.
        const pid_t watch = fork();
        if (watch != 0) _exit(watch > 0 ? 0 : 1);
        live(context, id, config, name, told.get());
    }
    told.reset();
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    char byte = 0;
    ssize_t count = 0;
    while ((count = read(watching.get(), &byte, 1)) < 0 && errno == EINTR) {
    }
    if (count != 1)
        return environment_error("vmferry-libxl-receive", doing, "it ended at once",
                                 "a process that watches");
    return {};
}

}  // namespace vmferry::libxl_receive
