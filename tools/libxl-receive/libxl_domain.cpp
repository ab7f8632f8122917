#include "tools/libxl-receive/libxl_domain.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <poll.h>
#include <sys/time.h>

#include "parsers/wire/place.hpp"
#include "parsers/xen/xl_header.hpp"
#include "tools/libxl-receive/host_memory.hpp"
#include "tools/libxl-receive/watch.hpp"

namespace vmferry::libxl_receive {
namespace {

/// Of the one operation that runs at a time.
constexpr libxl_ev_user the_operation = 1;

Result<void> name_is_free(libxl_ctx* context, const std::string& name) {
    std::uint32_t id = 0;
    if (libxl_name_to_domid(context, name.c_str(), &id) != 0) return {};
    return std::unexpected(Error{ErrorKind::refused,
                                 "libxl",
                                 "the domain's name",
                                 {},
                                 0,
                                 fmt::format("domain {} is called {}", id, name),
                                 "no such domain yet",
                                 "is the guest here already, or a rest of an earlier migration?"});
}

}  // namespace

Result<void> LibxlDomain::expect(const std::string& config) {
    const Place place{"xl", "header", 0};
    if (const int rc = libxl_domain_config_from_json(context_, config_.get(), config.c_str()); rc != 0)
        return place.wrong("config", xen::xl_config_at, code_error({}, rc).found, "a domain's configuration",
                           "what libxl did not understand stands on stderr before this");
    name_ = config_.name();
    if (name_.empty()) return place.wrong("config", xen::xl_config_at, "no c_info.name", "the domain's name");
    incoming_ = name_ + "--incoming";
    VMFERRY_TRY(name_is_free(context_, name_));
    VMFERRY_TRY(name_is_free(context_, incoming_));
    config_.set_name(incoming_);
    return {};
}

Result<void> LibxlDomain::create(int input) {
    {
        VMFERRY_ASSIGN(const auto room, make_room(context_, config_));
        VMFERRY_TRY(restore(input));
    }
    if (!options_.watch) return {};
    auto watched = start_watch(context_, id_, config_, name_);
    if (!watched)
        if (const auto destroyed = destroy(); !destroyed)
            watched.error().found += "; " + destroyed.error().text();
    return watched;
}

Result<void> LibxlDomain::restore(int input) {
    libxl_domain_restore_params parameters;
    libxl_domain_restore_params_init(&parameters);
    parameters.checkpointed_stream = LIBXL_CHECKPOINTED_STREAM_NONE;
    parameters.stream_version = 2;
    libxl_defbool_set(&parameters.userspace_colo_proxy, false);
    libxl_asyncop_how how{};
    how.u.for_event = the_operation;
    int rc =
        libxl_domain_create_restore(context_, config_.get(), &id_, input, -1, &parameters, &how, nullptr);
    const bool begun = rc == 0;
    if (begun) rc = await(how);
    libxl_domain_restore_params_dispose(&parameters);
    if (rc == 0) return {};
    auto error = code_error("restoring the domain from the stream", rc);
    if (rc == ERROR_ABORTED) error.found = "asked to end by a signal";
    error.hint = "more in /var/log/xen/qemu-dm-" + incoming_ + ".log and xl dmesg";
    // libxl destroys what it could not complete, but not what it was told to give up.
    if (libxl_domid_valid_guest(id_))
        if (const auto destroyed = destroy(); !destroyed) error.found += "; " + destroyed.error().text();
    return std::unexpected(std::move(error));
}

int LibxlDomain::await(const libxl_asyncop_how& how) {
    bool given_up = false;
    for (;;) {
        libxl_event* event = nullptr;
        while (libxl_event_check(context_, &event, LIBXL_EVENTMASK_ALL, nullptr, nullptr) == 0) {
            const bool it =
                event->type == LIBXL_EVENT_TYPE_OPERATION_COMPLETE && event->for_user == the_operation;
            const int rc = it ? event->u.operation_complete.rc : 0;
            libxl_event_free(context_, event);
            if (it) return rc;
        }
        std::vector<pollfd> all(64);
        int used = 0, milliseconds = -1;
        timeval now{};
        for (;;) {
            gettimeofday(&now, nullptr);
            used = static_cast<int>(all.size()) - 1;
            milliseconds = -1;
            const int rc = libxl_osevent_beforepoll(context_, &used, all.data() + 1, &milliseconds, now);
            if (rc == 0) break;
            if (rc != ERROR_BUFFERFULL) return rc;
            all.resize(static_cast<std::size_t>(used) + 1);
        }
        all[0] = {given_up ? -1 : stop_, POLLIN, 0};
        if (poll(all.data(), static_cast<nfds_t>(used) + 1, milliseconds) < 0) {
            if (errno != EINTR) return ERROR_FAIL;
            continue;
        }
        gettimeofday(&now, nullptr);
        libxl_osevent_afterpoll(context_, used, all.data() + 1, now);
        if (all[0].revents != 0) {
            given_up = true;
            // Too late is no failure: then it is complete, which the next round sees.
            (void)libxl_ao_abort(context_, &how);
        }
    }
}

std::expected<void, StartFailure> LibxlDomain::start() {
    const auto failure = [](const char* doing, int rc) {
        return std::unexpected(StartFailure{static_cast<std::uint8_t>(-rc), code_error(doing, rc)});
    };
    if (const int rc = libxl_domain_rename(context_, id_, incoming_.c_str(), name_.c_str()); rc != 0)
        return failure("giving the domain its name", rc);
    if (!options_.unpause) return {};
    if (const int rc = libxl_domain_unpause(context_, id_, nullptr); rc != 0)
        return failure("letting the domain run", rc);
    return {};
}

Result<void> LibxlDomain::destroy() {
    const int rc = libxl_domain_destroy(context_, id_, nullptr);
    if (rc != 0) {
        auto error = code_error(fmt::format("destroying domain {}", id_), rc);
        error.hint = "xl destroy " + incoming_;
        return std::unexpected(std::move(error));
    }
    id_ = INVALID_DOMID;
    return {};
}

}  // namespace vmferry::libxl_receive
