#include "tools/libxl-receive/host_memory.hpp"

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <string>

#include <fcntl.h>

extern "C" {
#include <libxlutil.h>
}

namespace vmferry::libxl_receive {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* settings_file = "/etc/xen/xl.conf";
/// Without an end dom0 could be asked for ever for what it does not have.
constexpr std::chrono::seconds patience{30};
constexpr int seconds_without_progress = 10;
constexpr libxl_domid dom0 = 0;

struct Settings {
    std::string autoballoon = "auto";
    std::string lock = "/var/lock/xl";
};

Result<Settings> read_settings() {
    Settings settings;
    if (access(settings_file, F_OK) != 0) return settings;
    auto* file = xlu_cfg_init(stderr, settings_file);
    if (file == nullptr) return environment_error("xl.conf", "reading it", "no memory");
    const int error = xlu_cfg_readfile(file, settings_file);
    const char* value = nullptr;
    if (error == 0 && xlu_cfg_get_string(file, "autoballoon", &value, 0) == 0) settings.autoballoon = value;
    if (error == 0 && xlu_cfg_get_string(file, "lockfile", &value, 0) == 0) settings.lock = value;
    xlu_cfg_destroy(file);
    if (error != 0) return environment_error("xl.conf", "reading it", errno_text(error));
    return settings;
}

bool dom0_gives_way(libxl_ctx* context, const std::string& autoballoon) {
    if (autoballoon == "on" || autoballoon == "1") return true;
    if (autoballoon == "off" || autoballoon == "0") return false;
    const auto* version = libxl_get_version_info(context);
    if (version == nullptr) return true;
    const auto words = fmt::format(" {}", version->commandline);
    return words.find(" dom0_mem=") == words.npos;
}

Result<Descriptor> take_lock(const std::string& path) {
    Descriptor lock(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, S_IWUSR));
    if (!lock.valid()) return environment_error("xl's lock", "opening " + path, errno_text(errno));
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    while (fcntl(lock.get(), F_SETLKW, &whole) != 0)
        if (errno != EINTR) return environment_error("xl's lock", "taking " + path, errno_text(errno));
    return lock;
}

}  // namespace

Result<Descriptor> make_room(libxl_ctx* context, DomainConfig& config) {
    VMFERRY_ASSIGN(const auto settings, read_settings());
    if (!dom0_gives_way(context, settings.autoballoon)) return Descriptor();
    VMFERRY_ASSIGN(auto lock, take_lock(settings.lock));

    std::uint64_t needed = 0, free = 0;  // KiB
    if (const int rc = libxl_domain_need_memory(context, config.get(), INVALID_DOMID, &needed); rc != 0)
        return std::unexpected(code_error("asking how much memory the domain needs", rc));
    const auto deadline = Clock::now() + patience;
    for (;;) {
        if (const int rc = libxl_get_free_memory(context, &free); rc != 0)
            return std::unexpected(code_error("asking how much memory is free", rc));
        if (free >= needed) return lock;
        if (Clock::now() > deadline)
            return environment_error("host", "making room for the domain", fmt::format("{} KiB free", free),
                                     fmt::format("{} KiB", needed));
        const auto change = static_cast<std::int64_t>(free) - static_cast<std::int64_t>(needed);
        if (const int rc = libxl_set_memory_target(context, dom0, change, 1, 0); rc != 0)
            return std::unexpected(code_error("taking memory from dom0", rc));
        if (const int rc = libxl_wait_for_memory_target(context, dom0, seconds_without_progress); rc != 0)
            return std::unexpected(code_error("waiting for dom0 to give memory", rc));
    }
}

}  // namespace vmferry::libxl_receive
